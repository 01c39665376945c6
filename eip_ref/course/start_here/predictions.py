"""The predictions of lesson 00 · Start here."""

from ...autograder.predict import Prediction

PREDICTIONS = (
    Prediction(
        name="start_here/an_hour",
        question="`simulate(an_hour)` runs this program. How long will you wait for it?",
        options=(
            "An hour",
            "A minute",
            "A blink",
        ),
        answer="A blink",
        why=(
            "Nothing happens between two looks, so the clock jumps from one to the next. The program itself "
            "sees a whole hour pass."
        ),
    ),
    Prediction(
        name="start_here/links",
        question=(
            "Four systems that all talk to each other need 12 one-way links. How many do twelve systems need?"
        ),
        options=(
            "36: three times as many",
            "72",
            "132",
        ),
        answer="132",
        why=(
            "Each of 12 systems has a link to each of the 11 others: 12 × 11. Three times the systems, "
            "eleven times the links. With a hub in the middle there are two links per system: 24."
        ),
    ),
    Prediction(
        name="start_here/blast_radius",
        question="Twenty systems. First one of them fails, then the hub. What share of messages is lost?",
        options=(
            "10 % and 10 %",
            "10 % and 100 %",
            "5 % and 100 %",
        ),
        answer="10 % and 100 %",
        why=(
            "A system that is down neither sends nor hears: 2 × 19 of 380 messages. With the hub down "
            "nobody hears anything. A hub has few links and a large blast radius."
        ),
    ),
)
