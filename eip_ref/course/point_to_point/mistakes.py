"""The mistakes that the exercises of this lesson know by name, exercise by exercise."""

from __future__ import annotations

from ...autograder.exercise import Mistake

# Count the links

NOTHING_PREDICTED = Mistake(
    "not-started",
    "The answer has not been started",
    "Put a whole number in place of each `None`, run the cell, then run the check again.",
)
NO_PREDICTION = Mistake(
    "no-prediction",
    "A prediction is missing",
    "Each of the six names needs a whole number. A guess is welcome: the check says which way it is off.",
)
COUNTS_PAIRS = Mistake(
    "counts-pairs",
    "Counted pairs instead of one-way links",
    "A link carries messages in one direction. Two systems that talk to each other need more than one.",
)
LINKS_TO_ITSELF = Mistake(
    "links-to-itself",
    "Counted a link from each system to itself",
    "A system needs no link to talk to itself. Draw three systems and count the arrows.",
)
HUB_ONE_WAY = Mistake(
    "hub-one-way",
    "Counted only one direction at the hub",
    "A system must reach the hub, and the hub must reach the system. Each link carries one direction only.",
)
EQUAL_IS_NOT_FEWER = Mistake(
    "equal-is-not-fewer",
    "Took equal for fewer",
    "With that number of systems both wirings need the same number of links. Count again for one more.",
)
ONE_DIRECTION_LOST = Mistake(
    "one-direction-lost",
    "Counted only half of what a failing system takes along",
    "A system that is down neither receives nor sends. Links end at it, and links begin at it.",
)
MISCOUNTED = Mistake(
    "miscounted",
    "The prediction and the count differ",
    "The check wired the systems up and counted. Draw a smaller case, such as four systems, and count there.",
)

# Choose for the absence

NO_SUCH_CHOICE = Mistake(
    "no-such-choice",
    "A choice that no channel has",
    "A channel blocks, fails or buffers. Only a channel that buffers has a capacity, and it needs one.",
)
LOSES_WHAT_MUST_ARRIVE = Mistake(
    "loses-what-must-arrive",
    "Loses what must arrive",
    "The sender of this channel has no other place for a message that is refused, and none may be missed.",
)
BUFFER_TOO_SMALL = Mistake(
    "buffer-too-small",
    "The buffer was full before the receiver came back",
    "A buffer hides an outage only as long as it has room. Count what is sent in the longest outage. Where "
    "that is more than may be kept, a buffer is not the way.",
)
SENDER_STANDS_STILL = Mistake(
    "sender-stands-still",
    "The sender stands still",
    "A `send` that waits for an absent receiver holds up whoever stands behind it, here for longer than the "
    "table allows.",
)
TOO_OLD = Mistake(
    "too-old",
    "Delivers what nobody needs any more",
    "A message that waited through the outage is delivered before all that came after it. Here an old value "
    "does harm, and a missing one does not.",
)
KEEPS_TOO_MUCH = Mistake(
    "keeps-too-much",
    "Keeps more than there is memory for",
    "The capacity is what the channel may use on a bad day. The table says how much there is.",
)

# Report what was not sent, and Hand over before leaving

NO_REPORT = Mistake(
    "no-report",
    "There is no report",
    "What you return is the report: a list with the ids of the invoices that were not accepted. It is empty "
    "when all were.",
)
REFUSAL_SWALLOWED = Mistake(
    "refusal-swallowed",
    "A refusal that nobody hears of",
    "Whoever reads the report believes that this invoice was accepted. Nobody will print it or send it "
    "again, so it is lost, and without a trace.",
)
ONE_REFUSAL_STOPS_ALL = Mistake(
    "one-refusal-stops-all",
    "One refusal stopped the invoices behind it",
    "A receiver that is away may be back for the next invoice. Here one error ended the whole day's work.",
)
FALSE_ALARM = Mistake(
    "false-alarm",
    "Reports as not sent what was accepted",
    "Whoever reads the report will send this invoice again, and the customer gets it twice.",
)
SENT_TWICE = Mistake(
    "sent-twice",
    "Sent again what had been accepted",
    "A message that was accepted is in good hands. Sending it once more makes a second invoice.",
)
RETRIES_FOR_EVER = Mistake(
    "retries-for-ever",
    "Tries again without an end",
    "Some receivers never come back, and a channel says so with an error of its own. Trying again helps only "
    "against an absence that ends.",
)
NOBODY_OWNS_THE_TASKS = Mistake(
    "nobody-owns-the-tasks",
    "Tasks that nobody waits for",
    "A task that is started and forgotten ends with the program, in the middle of its work, and no line of "
    "yours learns of it.",
)
LEFT_UNREPORTED = Mistake(
    "left-unreported",
    "Gave up on an invoice and did not say so",
    "Giving up after the time is over is right. But what was given up must be named, or it is lost for good.",
)
CUSTOMERS_WAIT = Mistake(
    "customers-wait",
    "The next customer waits for billing",
    "The counter is asked for the next invoice only when the one before was taken. So a slow receiver slows "
    "the shop itself.",
)
STAYS_TOO_LONG = Mistake(
    "stays-too-long",
    "Waits longer than it may",
    "A shutdown without a bound is a program that cannot be stopped. Whoever stops it by force loses "
    "everything that it still holds.",
)
LEAVES_TOO_EARLY = Mistake(
    "leaves-too-early",
    "Leaves before its time is up",
    "There was still time in which billing would have taken more. Reporting those invoices is honest, and "
    "makes work for somebody that was not needed.",
)

# Definite or unknown

SILENCE_CALLED_DEFINITE = Mistake(
    "silence-called-definite",
    "Called a silence a failure",
    "A lost invoice, a slow one and a lost confirmation look the same from the shop. Whoever believes this "
    "answer sends the invoice again, and some customers pay twice.",
)
BROKEN_CALLED_DEFINITE = Mistake(
    "broken-called-definite",
    "Called a broken connection a failure",
    "The connection broke after the invoice had left. An error says that you will get no answer. It does not "
    "say that nothing was done.",
)
ACCEPTED_WITHOUT_CONFIRMATION = Mistake(
    "accepted-without-confirmation",
    "Said accepted without a confirmation",
    "Nothing came back that says so. Whoever believes this answer never sends the invoice again, and if it "
    "was lost, it stays lost.",
)
REFUSAL_CALLED_UNKNOWN = Mistake(
    "refusal-called-unknown",
    "Knows less than it was told",
    "A refusal is good news of a kind: it is certain. Called unknown, somebody has to find out what the shop "
    "already knew.",
)
CONFIRMATION_IGNORED = Mistake(
    "confirmation-ignored",
    "Had a confirmation and did not use it",
    "The confirmation came within the limit. Whoever hears another answer asks or sends again for nothing.",
)
NO_TIME_LIMIT = Mistake(
    "no-time-limit",
    "Waits past the limit",
    "A silence never ends by itself. Without a limit that is kept, one lost message holds up the shop.",
)
OUTCOME_ESCAPES = Mistake(
    "outcome-escapes",
    "An outcome left the function as an error",
    "This error is one of the outcomes that the function is there to name. Here it ended the whole run.",
)
NO_SUCH_OUTCOME = Mistake(
    "no-such-outcome",
    "An answer that is none of the three",
    "Whoever asks decides by three words: 'accepted', 'not sent' and 'unknown'. Any other answer is lost on "
    "them.",
)
SENT_AGAIN = Mistake(
    "sent-again",
    "Sent the same invoice again",
    "After a silence the first one may have been booked. Sending it again is a decision with a price, and "
    "not for this function to take.",
)

# Catch the shared payload

ACCUSES_A_CORRECT_CHANNEL = Mistake(
    "accuses-a-correct-channel",
    "Fails a channel that keeps the promise",
    "A correct channel may make the sender wait until the message is taken, or refuse while nobody "
    "receives. A test must get along with each of the three.",
)
MISSES_THE_SHARED_BODY = Mistake(
    "misses-the-shared-body",
    "Does not see that sender and receiver share the body",
    "In this channel the sender can change an invoice that billing already has. It shows only when somebody "
    "changes something and somebody else looks.",
)
MISSES_WHAT_IS_INSIDE = Mistake(
    "misses-what-is-inside",
    "Sees only the surface of the body",
    "This channel copies the invoice, and both sides still share the lists and records inside it. A price in "
    "there can change after it was sent.",
)
MISSES_THE_ORDER = Mistake(
    "misses-the-order",
    "Does not see that the order changes",
    "This channel hands out the newest first. With one message at a time there is no order to get wrong.",
)
MISSES_THE_DOUBLE = Mistake(
    "misses-the-double",
    "Does not see a message that comes twice",
    "One of the first five messages comes out twice. It is seen only by a test that sends that many and "
    "looks at everything that comes out, as often as it comes.",
)
