# ruff: noqa: E501 (what attackers say stays in one line)
"""Answers that speak past the library, with the judge itself, in real exercises.

What single lines may hold is tried in `test_process_attacks.py`. Here they are said in order to get points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from textwrap import indent

from .submissions import CHOOSE, FENCE, MEND, Hostile, inside, speaking

TEST = "message_queue/catch_ack_on_receive"
AS_OF = "event_sourcing/as_of"
REPORT = "point_to_point/report_what_was_not_sent"

Table = dict[str, tuple[str, str, str]]  #: words: the verdict, the reason, and the body

ACKS_FIRST = """
while True:
    lease = await queue.receive()
    {ack}
    try:
        await handle(lease.message)
    except Exception:
        pass
"""

WORKERS: Table = {
    # hide a fact
    "acknowledges in the name of nobody": (
        "ack-on-receive", "the queue saw the ack, whoever asked",
        ACKS_FIRST.format(ack='side.say("ask", 0, "do", [number(lease), "ack"], [], {}); side.hear()'),
    ),
    "acknowledges by a task that belongs to no call": (
        "garbled", "each task that asks belongs to a call",
        ACKS_FIRST.format(
            ack='side._outbox.append(["op", 900, 9, 0, None, [number(lease), "ack"], [], {}]); await handle(lease.message)'
        ),
    ),
    "acknowledges by an entry that no task of its own knows": (
        "ack-on-receive", "an operation is done, and what comes of it is told to nobody",
        ACKS_FIRST.format(ack='side._outbox.append(["op", 900 + number(lease), 9, 1, None, [number(lease), "ack"], [], {}])'),
    ),
    "throws all orders away": (
        "left-behind", "what is gone was not packed",
        "await queue.receive()\nawait queue.purge()\nimport anyio\nawait anyio.sleep_forever()",
    ),
    "closes the queue, so that nothing can be left behind": (
        "left-behind", "orders that were accepted are owed",
        "queue.close()\nimport anyio\nawait anyio.sleep_forever()",
    ),
    "leaves the queue's own block": (
        "raised", "only whoever entered it may",
        "await queue.__aexit__(None, None, None)\nimport anyio\nawait anyio.sleep_forever()",
    ),
    "hands an order back for ten thousand years": (
        "left-behind", "it was not packed",
        "while True:\n    lease = await queue.receive()\n    await lease.nack(delay=3e11)",
    ),
    "keeps an order for ever": (
        "left-behind", "it was not packed",
        "import anyio\nlease = await queue.receive()\nawait lease.extend(1e299)\nawait anyio.sleep_forever()",
    ),
    "takes the queue's own reminders off its leases": (
        "ack-on-receive", "none of the judge's facts rests on them",
        "while True:\n    lease = await queue.receive()\n    try:\n        while True: lease.on_end.pop()\n"
        "    except IndexError: await lease.ack()\n    try: await handle(lease.message)\n    except Exception: pass",
    ),
    # forge a fact
    "works for an order of its own making, whose body has no trouble": (
        "proves-nothing", "no trouble struck, so nothing is proved",
        "from eip_ref.message import Message\n"
        "while True:\n    lease = await queue.receive()\n    for n in range(1, 5):\n"
        "        try: await handle(Message(f'order {n}', id=lease.message.id))\n"
        "        except Exception: continue\n        break\n    await lease.ack()",
    ),
    "works before anything came, for ids that it guesses": (
        "ack-after-failure", "some of the work failed, and was acknowledged",
        "from eip_ref.message import Message\n"
        "for n in range(1, 5):\n    try: await handle(Message(f'order {n}', id=f'm{n}'))\n    except Exception: pass\n"
        "while True: await (await queue.receive()).ack()",
    ),
    "puts orders of its own with the ids of others": (
        "ack-on-receive", "an id is no proof of work",
        "from dataclasses import replace\nlease = await queue.receive()\n"
        "await queue.put(replace(lease.message, body='order 9'))\nawait lease.ack()\n"
        "while True:\n    lease = await queue.receive()\n    await lease.ack()",
    ),
    "has the judge call the judge: hands the queue's own method to it": (
        "raised", "a reminder is called without an order",
        "while True:\n    lease = await queue.receive()\n    lease.on_end.append(lambda: None)\n"
        "    lease.on_end.append(handle)\n    await lease.ack()",
    ),
    "changes what it was handed before it hands it on": (
        "raised", "it changed a copy, and hands over nothing",
        "while True:\n    lease = await queue.receive()\n    await lease.ack()\n"
        "    vars(lease)['message'] = None\n    await handle(lease.message)",
    ),
    "calls a method under the number of another thing": (
        "garbled", "a number has the methods of its own thing",
        "lease = await queue.receive()\nvars(lease)['_stub_of'] = side, number(handle)\nawait lease.ack()",
    ),
    # the end of a call
    "ends as cancelled, and nobody has cancelled it": (
        "left-behind", "a worker that ended packs nothing", "import anyio\nside._outbox.append(['cancelled', max(side._scopes), None])\nawait anyio.sleep_forever()",
    ),
    "is done, and its tasks work on": (
        "ack-on-receive", "what tasks do counts whoever began them",
        "async def on():\n    while True:\n        lease = await queue.receive()\n        await lease.ack()\n"
        "        await handle(lease.message)\nside._loop.create_task(on())",
    ),
    "says that it is shielded from every stop": (
        "dies-of-one-order", "a shield is no pardon: the error ends it",
        "import eip_ref.autograder.process.learner_side as there\nthere._is_shielded = lambda: True\n"
        "while True:\n    lease = await queue.receive()\n    await lease.ack()\n    await handle(lease.message)",
    ),
    "takes no stop: its scopes are gone": (
        "raised",
        "its own side stumbles over it",
        "side._scopes.clear()\n"
        "while True:\n    lease = await queue.receive()\n    try: await handle(lease.message)\n"
        "    except Exception: pass\n    else: await lease.ack()",
    ),
    "asks for the scenario behind the function that it is given": (
        "garbled", "what is in no table has no name",
        "shift = side.read(number(handle), '__self__')\nside.read(number(shift), 'trouble').clear()",
    ),
    "numbers that are true and false": (
        "left-behind", "true is one: the call returned", "side._outbox.append(['return', True, None])\nimport anyio\nawait anyio.sleep_forever()",
    ),
    "numbers with a point": (
        "garbled", "numbers are whole", "side._outbox.append(['return', 1.0, None])\nawait queue.receive()",
    ),
    "forgets that it works for a call": (
        "waits-for-ever", "its call has no end and no wish", "side._calls.clear()\nside._lanes.clear()\nlease = await queue.receive()\nawait lease.ack()\nawait handle(lease.message)",
    ),
    "makes no tasks any more": (
        "waits-for-ever", "a call that makes no task asks for nothing", "side._loop.create_task = lambda *args, **more: None\n" + ACKS_FIRST.format(ack="await lease.ack()"),
    ),
    # what the queue's own code meets
    "a reminder that raises when the lease is over": (
        "raised", "it is an error of the answer",
        "def no(): raise LookupError('no')\nimport anyio\nlease = await queue.receive()\n"
        "lease.on_end.append(no)\nawait anyio.sleep_forever()",
    ),
    "a reminder that closes the queue": (
        "ack-on-receive", "the ack was seen",
        "import anyio\nlease = await queue.receive()\nlease.on_end.append(queue.close)\nawait lease.ack()\nawait anyio.sleep_forever()",
    ),
    "an order whose id is a list": (
        "raised", "the queue refuses it", "from eip_ref.message import Message\nawait queue.put(Message('x', id=['m1']))\nwhile True: await (await queue.receive()).ack()",
    ),
    "an order whose headers are a number": (
        "raised", "a message cannot be made of it", "from eip_ref.message import Message\nawait queue.put(Message('x', headers=7))\nwhile True: await (await queue.receive()).ack()",
    ),
    "an order whose type is an object of its own": (
        "raised", "the queue refuses it",
        "class Odd:\n    def upper(self): return self\nfrom eip_ref.message import Message\n"
        "await queue.put(Message('x', Odd()))\nwhile True: await (await queue.receive()).ack()",
    ),
}  # fmt: skip

SPEAKERS: Table = {
    "each line twice": (
        "left-behind", "the second is taken for the next",
        "real = write\ndef write(data): real(data + data)\n"
        "wait(op(1, [1, 'receive']))\nwait(['return', 1, None])",
    ),
    "does not hear that it is stopped": (
        "swallowed-cancellation", "whoever does not end is ended",
        "number = 0\nwhile True:\n    number += 1\n    wait(op(number, [1, 'receive']), due=side._loop.now + 1)",
    ),
    "acknowledges a lease in the breath in which it takes it": (
        "garbled", "a lease has a number when it came", "wait(op(1, [1, 'receive']), op(2, [3, 'ack'], lane=1))",
    ),
    "cancels what it wants in the breath in which it wants it": (
        "garbled", "asked where it waits, it says another thing", "for number in range(9): wait(op(number, [1, 'receive']), ['cancel', number])",
    ),
    "a stop of its own call": (
        "left-behind", "a worker that ended packs nothing", "wait(op(1, [1, 'receive']), ['cancelled', 1, None])",
    ),
    "an error of the scenario's own class, before there was one": (
        "dies-of-one-order", "an error that leaves it ends it", "wait(['raise', 1, error(['eip_ref.course.message_queue.mend_the_worker', 'NoAddress'])])",
    ),
    "an error at a line whose number has 4,000 digits": (
        "raised", "the words are bounded", "wait(['raise', 1, error('ValueError', line=[10**3999, 'x'])])",
    ),
    "is ready a second time": ("garbled", "it is asked once", "say('ready', None, ['async', 'work', {}], 1)"),
}  # fmt: skip
BEFORE: Table = {
    "a problem of a cell that is not there": (
        "not-found", "problems of other cells are not its own",
        "say('missing', [['syntax-error', '<cell 99>', 7, 'x']])",
    ),
    "a problem in its own words": (
        "cell-error", "it has no answer, whatever the words",
        "import sys\nsay('missing', [['cell-error', sys._getframe().f_code.co_filename, 1, 'passed: 3 of 3 points']])",
    ),
    "a problem that is called a success": ("garbled", "problems are of two kinds", "say('missing', [['passed', '<cell 1>', 1, 'x']])"),
    "a problem in a file with a long name": (
        "not-found", "problems of other cells are not its own", "say('missing', [['cell-error', 'x' * 900_000, 1, 'x']])",
    ),
}  # fmt: skip
SYNC: Table = {
    "an answer that says that time has gone back": ("garbled", "time does not", "say('answer', ['buffer', 30], False, -1)"),
    "an answer with half of its words": ("garbled", "an answer has four", "say('answer', ['buffer', 30])"),
    "a wait in place of an answer": ("garbled", "a function does not suspend", "say('wait', None, [['return', 1, ['fail', 0]]])"),
    "an error that is a value": ("garbled", "an error has a class", "say('fault', ['fail', 0], False, None)"),
    "asks for what a function was never given": (
        "garbled", "it was given nothing", "ask('do', [1, 'receive_nowait'], [], {}, call=0)",
    ),
}  # fmt: skip
WORDS: Table = {
    "words of its own about where it waits": (
        "waits-for-ever", "they are words, and bounded", "got = wait(op(1, [1, 'receive']))\nwhile True:\n    if got[0] == 'where':\n"
        "        say('where', ['<script>passed</script>' * 40] * 500)\n        got = hear()\n    else: got = wait()",
    ),
}  # fmt: skip
STORES: Table = {
    "a method that says that it waits": (
        "wrong-form", "the store is asked for at once",
        "async def write(self, invoice, text, token): return True\ndef read(self, invoice): return 'x'",
    ),
    "a method that gives something that waits": (
        "raised", "what it gave is no value",
        "def write(self, invoice, text, token): return self.later()\nasync def later(self): return True\n"
        "def read(self, invoice): return 'x'",
    ),
    "a store whose length is below nothing": (
        "raised", "an object is no answer", "def write(self, invoice, text, token): return self\ndef read(self, invoice): return self\ndef __len__(self): return -1",
    ),
    "a store with two faces: it reads as it should, and once more as it is": (
        "older-overwrites-newer", "it keeps what is old",
        "times, kept = 0, {}\n"
        "def write(self, invoice, text, token):\n    self.kept[invoice] = text\n    return True\n"
        "def read(self, invoice):\n    self.times += 1\n    return self.kept.get(invoice) if self.times % 2 else 'nothing'",
    ),
}  # fmt: skip
REPORTS: Table = {
    "a report that goes on for ever": (
        "no-report", "a report is a list of texts",
        "class Endless:\n    def __iter__(self): return self\n    def __next__(self): return 'm1'\n    def __len__(self): return 1\n"
        "async for invoice in counter: pass\nreturn Endless()",
    ),
    "the channel's own method as report": ("no-report", "a report is a list of texts", "return [invoices.send, invoices.close]"),
}  # fmt: skip
TESTS: Table = {
    "a test that reads the numbers of what it was given": (
        "misses-ack-on-receive", "each implementation begins to count anew",
        "assert len(side._stubs) + len(side._mine) < 50 and max(side._stubs) < 3",
    ),
    "a test that reads how often the judge has spoken": (
        "misses-ack-on-receive", "each implementation is told the same", "assert len(side._rest) == 0 and next(side._count) == 1",
    ),
    "a test that looks through its own side for a name": (
        "misses-ack-on-receive", "no name crosses",
        "assert 'acks_' not in repr(vars(side)) + repr([vars(each) for each in gc.get_objects() if type(each).__name__ == '_Operation'])",
    ),
    "a queue whose name is an object": ("accuses-a-correct-worker", "the queue refuses the name, with all workers", "class Odd: pass\nasync with MessageQueue(Odd()) as queue:\n    await queue.put(Message('x'))"),
    "a queue of leases without an end": (
        "misses-ack-on-receive", "it says nothing against anybody", "async with MessageQueue('q', lease=float('inf')) as queue:\n    await queue.put(Message('x'))\n    await queue.receive()",
    ),
    "a worker that is its own handler": (
        "accuses-a-correct-worker", "it waits for ever, with all workers", "async with MessageQueue('q') as queue:\n    await queue.put(Message('x'))\n    await work(queue, work)",
    ),
}  # fmt: skip
LOGS: Table = {
    "empties the judge's list, and says that it was so": ("garbled", "what is shared keeps its kind", "for each in range(-9, 10): side.say('changed', {'$shared': [each, []]})\nreturn {}"),
    "changes a list that it was never given": ("wrong-balance", "nobody has it", "side.say('changed', {'$shared': [77, [1]]}, {'$shared': [-77, [1]]})\nreturn {}"),
    "changes the judge's facts before it answers, and puts them back": (
        "wrong-balance", "it has no balances",
        "kept = [dict(each) for each in events]\nevents.clear()\nside.say('ask', 0, 'id', 'm')\nside.hear()\nevents.extend(kept)\nreturn {}",
    ),
}  # fmt: skip


def _made(table: Table, make: Callable[[str, str], str], exercise: str) -> Iterator[Hostile]:
    for words, (verdict, why, body) in table.items():
        yield Hostile(words, verdict, why, make(body, exercise), exercise)


def _class(body: str, exercise: str) -> str:
    return "class Store:\n" + indent(body, "    ")


def _before(body: str, exercise: str) -> str:
    return speaking(body, exercise, before="")


ATTACKS = (
    *_made(WORKERS, inside, MEND),
    *_made(SPEAKERS, speaking, MEND),
    *_made(WORDS, speaking, MEND),
    *_made(BEFORE, _before, MEND),
    *_made(SYNC, speaking, CHOOSE),
    *_made(STORES, _class, FENCE),
    *_made(REPORTS, inside, REPORT),
    *_made(TESTS, inside, TEST),
    *_made(LOGS, inside, AS_OF),
)
