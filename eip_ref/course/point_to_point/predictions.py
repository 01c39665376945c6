"""The predictions of lesson 01 · Point-to-point."""

from ...autograder.predict import Prediction

PREDICTIONS = (
    Prediction(
        name="point_to_point/booked",
        question="The shop's report has three lines that say “booked”. How many invoices did billing book?",
        options=(
            "3: each send returned without an error",
            "2: it was working on the second one",
            "1: only the first was done",
        ),
        answer="1: only the first was done",
        why=(
            "All three sends returned at 0 s, because the channel had room. At 1.5 s billing had finished "
            "one invoice, held the second in its hands, and had not seen the third."
        ),
    ),
    Prediction(
        name="point_to_point/tiny",
        question="Billing stays away for a month, and the shop goes on sending. What does `TinyChannel` do?",
        options=(
            "It refuses invoices when it is full",
            "It makes the shop wait",
            "It accepts everything until the memory is used up",
        ),
        answer="It accepts everything until the memory is used up",
        why=(
            "Its list has no bound and `send` never looks at the receiver. When the process dies in the "
            "end, every invoice in the list dies with it, and each of them had been accepted."
        ),
    ),
    Prediction(
        name="point_to_point/silence",
        question=(
            "About a third of the 100 invoices get no confirmation within two seconds. How many of those "
            "did billing book?"
        ),
        options=(
            "None: no confirmation means that it was not booked",
            "All: the link back is at fault",
            "Some of them, and the shop cannot tell which",
        ),
        answer="Some of them, and the shop cannot tell which",
        why=(
            "A lost invoice and a lost confirmation look the same from the shop: silence. So a timeout is "
            "indefinite: it may have happened."
        ),
    ),
)
