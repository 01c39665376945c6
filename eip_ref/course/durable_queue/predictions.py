"""The predictions of lesson 03 · Durable queue."""

from ...autograder.predict import Prediction

PREDICTIONS = (
    Prediction(
        name="durable_queue/finally",
        question=(
            "Both programs confirm 1,000 orders and are then killed by SIGKILL. How many orders are in the "
            "file of each?"
        ),
        options=(
            "1,000 and 1,000: `finally` always runs, and the other one wrote before it confirmed",
            "0 and 1,000",
            "0, and some of them",
        ),
        answer="0, and some of them",
        why=(
            "SIGKILL ends the process between two instructions: no `finally`, no `with`, no handler runs. "
            "And `file.write` only fills a buffer inside the program. What is in it dies with the program."
        ),
    ),
    Prediction(
        name="durable_queue/never_synced",
        question=(
            "This queue never syncs. Its process is killed at the last of 1,000 confirms. How many orders "
            "are lost?"
        ),
        options=("Hundreds", "The last one", "None"),
        answer="None",
        why=(
            "SQLite hands each commit to the operating system before it returns. The system lives on when "
            "the program dies, and the next program reads from its cache. Only the loss of power, or of the "
            "system, takes what was not synced."
        ),
    ),
    Prediction(
        name="durable_queue/company",
        question=(
            "One till sends orders, each when the one before is confirmed. Now up to ten orders may share a "
            "sync, and the broker waits up to 10 ms for company. What becomes of the number of orders a "
            "second?"
        ),
        options=("It grows nearly tenfold", "It stays as it was", "It falls"),
        answer="It falls",
        why=(
            "The till waits for its confirm, the broker waits for the till's next order, and nothing comes. "
            "So each order waits for 10 ms more. Sharing needs several producers, or one that does not wait "
            "for each confirm."
        ),
    ),
    Prediction(
        name="durable_queue/same_id",
        question=(
            "The queue is durable, and the till sends each order with an id that it makes anew for each try. "
            "The process dies at each of its awaits, one run for each. What can happen to an order?"
        ),
        options=(
            "It can be lost",
            "It can be booked twice, although billing did not die between booking and its ack",
            "Nothing: a durable queue loses nothing and doubles nothing",
        ),
        answer="It can be booked twice, although billing did not die between booking and its ack",
        why=(
            "When the process dies after the commit and before the till has crossed the order out, the till "
            "sends it again. With a new id these are two orders, and each of them is booked. With the same "
            "id the queue knows that it has this one."
        ),
    ),
    Prediction(
        name="durable_queue/lease",
        question=(
            "At 10 s a worker gets an order, with a lease of 30 s. At 12 s the broker dies, and at 13 s it "
            "is back. When does another worker get the order?"
        ),
        options=(
            "At 13 s: the restart gives everything back",
            "At 40 s: when the lease is over",
            "At 43 s: the lease begins anew",
        ),
        answer="At 40 s: when the lease is over",
        why=(
            "The lease is kept in the file with the time of its end. The worker may still be at work: it was "
            "the broker that died. A broker whose leases end with a connection, as RabbitMQ, would hand the "
            "order out at 13 s."
        ),
    ),
    Prediction(
        name="durable_queue/skipped",
        question=(
            "The handler fails for order 2. The reader does not commit and reads on; after each order that "
            "was booked it commits. Which orders are booked in the end, and what is committed?"
        ),
        options=(
            "0 1, and then it waits at order 2; committed 2",
            "0 1 3 4 5, and order 2 comes again; committed 2",
            "0 1 3 4 5, and order 2 never comes again; committed 6",
        ),
        answer="0 1 3 4 5, and order 2 never comes again; committed 6",
        why=(
            "A commit has one number for the whole past. The commit after order 3 says that everything "
            "before offset 4 is done, and order 2 is before it. One order cannot be left out of a commit."
        ),
    ),
    Prediction(
        name="durable_queue/retention",
        question=(
            "An order comes every 6 seconds. The log keeps 600 seconds. Billing was away for 702 seconds, "
            "and nothing has crashed. How many orders can it never read?"
        ),
        options=(
            "None: they are on the disk",
            "18: those that are 600 seconds old, or older",
            "117: all that came while it was away",
        ),
        answer="18: those that are 600 seconds old, or older",
        why=(
            "Retention looks at the age of a message and not at its readers. What is 600 seconds old is "
            "dropped, read or unread."
        ),
    ),
    Prediction(
        name="durable_queue/compaction",
        question="Before, both logs say that there are 80 packets of tea. What do they say after it?",
        options=("80 and 80", "−15 and 80", "100 and 100"),
        answer="−15 and 80",
        why=(
            "Compaction keeps the last message of each key. The last level is the whole truth. The last "
            "change is only the last change: what came before it is gone, and the sum with it."
        ),
    ),
)
