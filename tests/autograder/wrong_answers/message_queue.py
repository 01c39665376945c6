"""Kept answers to the exercises of lesson 02: wrong ones with their mistake, and other right ones."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio

from eip_ref.course.message_queue import Books, Conflict, Transaction
from eip_ref.message import Message
from eip_ref.message_queue import Empty, Lease, MessageQueue, Queue, Worker, heartbeat, process, replay
from tests.autograder.exercise_cases import Answers

ANSWERS = Answers("message_queue")
wrong, right = ANSWERS.wrong, ANSWERS.right

Handler = Callable[[Message], Awaitable[None]]
Book = Callable[[Message, Transaction], Awaitable[None]]
Work = Callable[[Queue, Handler], Coroutine[Any, Any, None]]
Settle = Callable[[Lease], Awaitable[object]]


# Predict the shares

SHARES = {"prefetch 1": (11, 9), "prefetch 12": (14, 6), "prefetch 20": (20, 0), "order kept": False}


@wrong("predict_the_shares", "head-start-forgotten")
def a_fair_half() -> dict[str, Any]:
    return SHARES | {"prefetch 1": (10, 10)}


@wrong("predict_the_shares", "credit-comes-back")
def twelve_is_twelve() -> dict[str, Any]:
    return SHARES | {"prefetch 12": (12, 8)}


@wrong("predict_the_shares", "prefetched-is-taken")
def they_share_anyway() -> dict[str, Any]:
    return SHARES | {"prefetch 20": (11, 9)}


@wrong("predict_the_shares", "global-order")
def a_queue_is_first_in_first_out() -> dict[str, Any]:
    return SHARES | {"order kept": True}


@wrong("predict_the_shares", "no-prediction")
def leaves_one_out() -> dict[str, Any]:
    return SHARES | {"prefetch 20": (None, None)}


@wrong("predict_the_shares", "no-prediction")
def in_words() -> dict[str, Any]:
    return SHARES | {"prefetch 1": "eleven and nine"}


# Choose the ack mode

MODES = {
    "charge the card": ("last", True),
    "show the temperature": ("first", False),
    "send the invoice": ("last", False),
}


@right("choose_ack_mode")
def by_what_a_repeat_costs(job: str) -> tuple[str, bool]:
    loss_matters, repeat_matters = job != "show the temperature", job != "send the invoice"
    return "last" if loss_matters else "first", loss_matters and repeat_matters


@wrong("choose_ack_mode", "payment-lost")
def first_for_all(job: str) -> tuple[str, bool]:
    return "first", True


@wrong("choose_ack_mode", "charged-twice")
def last_for_all(job: str) -> tuple[str, bool]:
    return "last", False


@wrong("choose_ack_mode", "display-went-back")
def safe_for_all(job: str) -> tuple[str, bool]:
    return "last", True


@wrong("choose_ack_mode", "invoice-lost")
def mail_is_cheap(job: str) -> tuple[str, bool]:
    return (MODES | {"send the invoice": ("first", False)})[job]


@wrong("choose_ack_mode", "needless-ledger")
def better_safe_than_sorry(job: str) -> tuple[str, bool]:
    return (MODES | {"send the invoice": ("last", True)})[job]


@wrong("choose_ack_mode", "no-such-choice")
def only_the_mode(job: str) -> str:
    return "last"


# Mend the worker, and rest instead of a hot loop: workers that differ in what they do after an error


async def _work(queue: Queue, handle: Handler, after_an_error: Settle) -> None:
    while True:
        lease = await queue.receive()
        try:
            await handle(lease.message)
        except Exception:
            await after_an_error(lease)
        else:
            await lease.ack()


async def _nothing(lease: Lease) -> None:
    """Let the lease run out."""


@right("mend_the_worker")
@right("backoff_not_hot_loop")
async def lets_the_lease_run_out(queue: Queue, handle: Handler) -> None:
    await _work(queue, handle, _nothing)


@right("mend_the_worker")
@right("backoff_not_hot_loop")
async def lets_the_queue_choose(queue: Queue, handle: Handler) -> None:
    await _work(queue, handle, lambda lease: lease.nack())


@right("mend_the_worker")
@right("backoff_not_hot_loop")
async def the_reference_worker(queue: Queue, handle: Handler) -> None:
    await Worker(queue, handle).run()


@right("mend_the_worker")
async def tries_again_in_place(queue: Queue, handle: Handler) -> None:
    while True:
        lease = await queue.receive()
        for _ in range(5):
            try:
                await handle(lease.message)
            except Exception:
                await anyio.sleep(1)
            else:
                await lease.ack()
                break


@right("mend_the_worker")
async def two_at_a_time(queue: Queue, handle: Handler) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(lets_the_queue_choose, queue, handle)


@right("mend_the_worker")
async def finishes_before_it_stops(queue: Queue, handle: Handler) -> None:
    while True:
        lease = await queue.receive()
        with anyio.CancelScope(shield=True):
            await process(lease, handle)


@wrong("mend_the_worker", "ack-on-receive")
async def acks_first(queue: Queue, handle: Handler) -> None:
    while True:
        lease = await queue.receive()
        await lease.ack()
        try:
            await handle(lease.message)
        except Exception:
            continue


@wrong("mend_the_worker", "ack-after-failure")
async def the_broken_code(queue: Queue, handle: Handler) -> None:
    while True:
        lease = await queue.receive()
        try:
            await handle(lease.message)
        except Exception:
            pass
        finally:
            await lease.ack()


@wrong("mend_the_worker", "ack-after-cancel")
async def nacks_errors_and_acks_in_finally(queue: Queue, handle: Handler) -> None:
    while True:
        lease = await queue.receive()
        try:
            await handle(lease.message)
        except Exception:
            await lease.nack()
        finally:
            await lease.ack()


@wrong("mend_the_worker", "never-acked")
async def forgets_the_ack(queue: Queue, handle: Handler) -> None:
    while True:
        lease = await queue.receive()
        try:
            await handle(lease.message)
        except Exception:
            await lease.nack()


@wrong("mend_the_worker", "hot-loop")
@wrong("backoff_not_hot_loop", "hot-loop")
async def again_at_once(queue: Queue, handle: Handler) -> None:
    await _work(queue, handle, lambda lease: lease.nack(delay=0))


@wrong("mend_the_worker", "hot-loop")
@wrong("backoff_not_hot_loop", "hot-loop")
async def releases_it(queue: Queue, handle: Handler) -> None:
    await _work(queue, handle, lambda lease: lease.extend(0))


@wrong("mend_the_worker", "dies-of-one-order")
@wrong("backoff_not_hot_loop", "dies-of-one-order")
async def lets_the_error_out(queue: Queue, handle: Handler) -> None:
    while True:
        lease = await queue.receive()
        await handle(lease.message)
        await lease.ack()


@wrong("mend_the_worker", "left-behind")
async def goes_home_after_an_error(queue: Queue, handle: Handler) -> None:
    try:
        await lets_the_error_out(queue, handle)
    except Exception:
        return


@wrong("mend_the_worker", "swallowed-cancellation")
async def catches_everything(queue: Queue, handle: Handler) -> None:
    while True:
        try:
            lease = await queue.receive()
            await handle(lease.message)
            await lease.ack()
        except BaseException:
            pass


@right("backoff_not_hot_loop")
async def five_seconds(queue: Queue, handle: Handler) -> None:
    await _work(queue, handle, lambda lease: lease.nack(delay=5))


@wrong("backoff_not_hot_loop", "too-eager")
async def one_second(queue: Queue, handle: Handler) -> None:
    await _work(queue, handle, lambda lease: lease.nack(delay=1))


@wrong("backoff_not_hot_loop", "gave-up")
async def acks_it_away(queue: Queue, handle: Handler) -> None:
    await _work(queue, handle, lambda lease: lease.ack())


@wrong("backoff_not_hot_loop", "too-late")
async def comes_back_in_an_hour(queue: Queue, handle: Handler) -> None:
    await _work(queue, handle, lambda lease: lease.nack(delay=3600))


@wrong("backoff_not_hot_loop", "worker-sleeps")
async def the_worker_sleeps(queue: Queue, handle: Handler) -> None:
    async def sleep(lease: Lease) -> None:
        await anyio.sleep(10)
        await lease.nack(delay=0)

    await _work(queue, handle, sleep)


# Keep the lease


@right("keep_the_lease")
async def with_the_reference_heartbeat(lease: Lease, handle: Handler) -> None:
    async with heartbeat(lease):
        await handle(lease.message)
    await lease.ack()


@right("keep_the_lease")
async def with_process(lease: Lease, handle: Handler) -> None:
    await process(lease, handle, heartbeat=True)


@right("keep_the_lease")
async def watches_its_own_clock(lease: Lease, handle: Handler) -> None:
    async def work() -> None:
        await handle(lease.message)
        await lease.ack()
        group.cancel_scope.cancel()

    async def watch() -> None:
        while anyio.current_time() < lease.expires:
            with anyio.move_on_at(lease.expires):
                await lease.extend()
            await anyio.sleep(4)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        group.start_soon(watch)


@wrong("keep_the_lease", "lease-ran-out")
async def only_for_quick_work(lease: Lease, handle: Handler) -> None:
    await handle(lease.message)
    await lease.ack()


@wrong("keep_the_lease", "lease-ran-out")
async def extends_once(lease: Lease, handle: Handler) -> None:
    await lease.extend()
    await handle(lease.message)
    await lease.ack()


@wrong("keep_the_lease", "lease-ran-out")
async def extends_when_it_is_over(lease: Lease, handle: Handler) -> None:
    await _beat(lease, handle, pause=lease.seconds, first=True)


@wrong("keep_the_lease", "lease-too-long")
async def extends_for_an_hour(lease: Lease, handle: Handler) -> None:
    await lease.extend(3600)
    await handle(lease.message)
    await lease.ack()


@wrong("keep_the_lease", "works-without-a-lease")
async def does_not_listen(lease: Lease, handle: Handler) -> None:
    await _beat(lease, handle, pause=3, stops=False)


@wrong("keep_the_lease", "heartbeat-goes-on")
async def never_stops_beating(lease: Lease, handle: Handler) -> None:
    async def beat() -> None:
        while True:
            if not await lease.extend() and not lease.outcome:
                group.cancel_scope.cancel()
            await anyio.sleep(3)

    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        await handle(lease.message)
        await lease.ack()


@wrong("keep_the_lease", "never-acked")
async def keeps_it_and_forgets_it(lease: Lease, handle: Handler) -> None:
    async with heartbeat(lease):
        await handle(lease.message)


async def _beat(
    lease: Lease, handle: Handler, *, pause: float, first: bool = False, stops: bool = True
) -> None:
    async def beat() -> None:
        if first:
            await anyio.sleep(pause)
        while await lease.extend() or not stops:
            await anyio.sleep(pause)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        await handle(lease.message)
        await lease.ack()
        group.cancel_scope.cancel()


# Fence the store


class _Texts:
    def __init__(self) -> None:
        self.kept: dict[str, tuple[int, str]] = {}

    def read(self, invoice: str) -> str | None:
        return self.kept[invoice][1] if invoice in self.kept else None


@right("fence_the_store")
class AllThatWasWritten:
    """Keeps every write and reads the one with the highest token."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, int, str]] = []

    def write(self, invoice: str, text: str, token: int) -> bool:
        newest = max((t for name, t, _ in self.writes if name == invoice), default=0)
        if token >= newest:
            self.writes.append((invoice, token, text))
        return token >= newest

    def read(self, invoice: str) -> str | None:
        return next((text for name, _, text in reversed(self.writes) if name == invoice), None)


@wrong("fence_the_store", "older-overwrites-newer")
class LastWriterWins(_Texts):
    def write(self, invoice: str, text: str, token: int) -> bool:
        self.kept[invoice] = token, text
        return True


@wrong("fence_the_store", "one-fence-for-all")
class OneFence(_Texts):
    def write(self, invoice: str, text: str, token: int) -> bool:
        if token < max((kept for kept, _ in self.kept.values()), default=0):
            return False
        self.kept[invoice] = token, text
        return True


@wrong("fence_the_store", "refuses-its-own-lease")
class OnceForEachLease(_Texts):
    def write(self, invoice: str, text: str, token: int) -> bool:
        if token <= self.kept.get(invoice, (0, ""))[0]:
            return False
        self.kept[invoice] = token, text
        return True


@wrong("fence_the_store", "silent-refusal")
class AlwaysSaysYes(_Texts):
    def write(self, invoice: str, text: str, token: int) -> bool:
        if token >= self.kept.get(invoice, (0, ""))[0]:
            self.kept[invoice] = token, text
        return True


@wrong("fence_the_store", "silent-refusal")
class SaysNothing(_Texts):
    def write(self, invoice: str, text: str, token: int) -> None:
        if token >= self.kept.get(invoice, (0, ""))[0]:
            self.kept[invoice] = token, text


@wrong("fence_the_store", "accepted-and-not-kept")
class KeepsTheFirst(_Texts):
    def write(self, invoice: str, text: str, token: int) -> bool:
        newest, first = self.kept.get(invoice, (token, text))
        if token < newest:
            return False
        self.kept[invoice] = token, first
        return True


# Catch ack-on-receive


@right("catch_ack_on_receive")
async def looks_three_times(work: Work) -> None:
    seen: list[int] = []

    async def handle(message: Message) -> None:
        seen.append(queue.counts.acked)
        await anyio.sleep(2)
        if len(seen) == 1:
            raise RuntimeError("not today")

    async with MessageQueue("tea", lease=5) as queue, anyio.create_task_group() as group:
        await queue.put(Message("green tea"))
        group.start_soon(work, queue, handle)
        with anyio.move_on_after(60):
            await queue.join()
        group.cancel_scope.cancel()
        acked, dead = queue.counts.acked, queue.counts.dead
    assert (seen, acked, dead) == ([0, 0], 1, 0)


@wrong("catch_ack_on_receive", "misses-ack-on-receive")
async def asserts_nothing(work: Work) -> None:
    async def handle(message: Message) -> None:
        await anyio.sleep(1)

    async with MessageQueue("orders") as queue, anyio.create_task_group() as group:
        await queue.put(Message("order 1"))
        group.start_soon(work, queue, handle)
        await anyio.sleep(5)
        group.cancel_scope.cancel()


@wrong("catch_ack_on_receive", "misses-ack-on-receive")
async def looks_only_at_the_end(work: Work) -> None:
    packed: list[str] = []

    async def handle(message: Message) -> None:
        await anyio.sleep(1)
        packed.append(message.body)

    async with MessageQueue("orders") as queue, anyio.create_task_group() as group:
        await queue.put(Message("order 1"))
        group.start_soon(work, queue, handle)
        await anyio.sleep(5)
        assert packed == ["order 1"]
        assert queue.counts.acked == 1
        group.cancel_scope.cancel()


@wrong("catch_ack_on_receive", "misses-ack-on-receive")
async def asserts_in_the_handler(work: Work) -> None:
    """The worker takes the AssertionError for an error of the handler."""

    async def handle(message: Message) -> None:
        assert queue.counts.acked == 0
        await anyio.sleep(1)

    async with MessageQueue("orders") as queue, anyio.create_task_group() as group:
        await queue.put(Message("order 1"))
        group.start_soon(work, queue, handle)
        await anyio.sleep(5)
        group.cancel_scope.cancel()


@wrong("catch_ack_on_receive", "misses-ack-after-failure")
async def no_handler_fails(work: Work) -> None:
    seen: list[int] = []

    async def handle(message: Message) -> None:
        await anyio.sleep(1)
        seen.append(queue.counts.acked)

    async with MessageQueue("orders") as queue, anyio.create_task_group() as group:
        await queue.put(Message("order 1"))
        group.start_soon(work, queue, handle)
        await anyio.sleep(5)
        assert (seen, queue.counts.acked) == ([0], 1)
        group.cancel_scope.cancel()


@wrong("catch_ack_on_receive", "misses-never-acks")
async def looks_only_at_the_bad_order(work: Work) -> None:
    async def handle(message: Message) -> None:
        raise ValueError("no address")

    async with MessageQueue("orders") as queue, anyio.create_task_group() as group:
        await queue.put(Message("order 1"))
        group.start_soon(work, queue, handle)
        await anyio.sleep(5)
        assert queue.counts.acked == 0
        group.cancel_scope.cancel()


@wrong("catch_ack_on_receive", "accuses-a-correct-worker")
async def wants_it_back_within_two_seconds(work: Work) -> None:
    attempts: list[float] = []

    async def handle(message: Message) -> None:
        attempts.append(anyio.current_time())
        if len(attempts) == 1:
            raise ValueError("no address")

    async with MessageQueue("orders", lease=30) as queue, anyio.create_task_group() as group:
        await queue.put(Message("order 1"))
        group.start_soon(work, queue, handle)
        await anyio.sleep(5)
        assert len(attempts) == 2
        assert attempts[1] - attempts[0] < 2
        assert queue.counts.acked == 1
        group.cancel_scope.cancel()


@wrong("catch_ack_on_receive", "accuses-a-correct-worker")
async def wants_one_at_a_time(work: Work) -> None:
    seen: list[int] = []

    async def handle(message: Message) -> None:
        seen.append(queue.counts.in_flight)
        await anyio.sleep(1)

    async with MessageQueue("orders") as queue, anyio.create_task_group() as group:
        await queue.put(Message("order 1"))
        await queue.put(Message("order 2"))
        group.start_soon(work, queue, handle)
        await anyio.sleep(5)
        assert seen == [1, 1]
        assert queue.counts.acked == 2
        group.cancel_scope.cancel()


# Dead letters, and the way back


class _Desk:
    """The right desk; each of the others does one thing in another way."""

    def __init__(self, orders: Queue, dead: Queue, limit: int) -> None:
        self.orders, self.dead, self.limit = orders, dead, limit

    async def work(self, pack: Handler) -> None:
        while True:
            lease = await self.orders.receive()
            try:
                await pack(lease.message)
            except Exception as error:
                await self.failed(lease, error)
            else:
                await lease.ack()

    async def failed(self, lease: Lease, error: Exception) -> None:
        if lease.failures + 1 < self.limit:
            await lease.nack()
        else:
            await self.bury(lease, error)

    async def bury(self, lease: Lease, error: Exception) -> None:
        await self.dead.put(self.letter(lease.message, error))
        await lease.ack()

    def letter(self, message: Message, error: Exception) -> Message:
        return message.copy(headers={**message.headers, "reason": str(error)})

    async def replay(self) -> None:
        while True:
            try:
                lease = await self.dead.receive(timeout=0)
            except Empty:
                return
            await self.orders.put(lease.message)
            await lease.ack()


@right("dead_letters_and_replay")
class TriesInPlace(_Desk):
    async def work(self, pack: Handler) -> None:
        while True:
            lease = await self.orders.receive()
            for attempt in range(1, self.limit + 1):
                try:
                    await pack(lease.message)
                except Exception as error:
                    if attempt == self.limit:
                        await self.dead.put(self.letter(lease.message, error))
                else:
                    break
            await lease.ack()


@right("dead_letters_and_replay")
class TakesAllAtOnce(_Desk):
    """Holds all letters before it moves the first, and gives the reason with the error's type."""

    def letter(self, message: Message, error: Exception) -> Message:
        return message.copy(headers={**message.headers, "reason": repr(error)})

    async def replay(self) -> None:
        leases = []
        try:
            while True:
                leases.append(await self.dead.receive(timeout=0.1))
        except Empty:
            for lease in leases:
                await self.orders.put(lease.message)
                await lease.ack()


@right("dead_letters_and_replay")
class WithTheReferenceReplay(_Desk):
    async def replay(self) -> None:
        await replay(self.dead, self.orders)


@wrong("dead_letters_and_replay", "ack-before-put")
class AcksFirst(_Desk):
    async def bury(self, lease: Lease, error: Exception) -> None:
        await lease.ack()
        await self.dead.put(self.letter(lease.message, error))


@wrong("dead_letters_and_replay", "ack-before-put")
class AcksFirstInReplay(_Desk):
    async def replay(self) -> None:
        while True:
            try:
                lease = await self.dead.receive(timeout=0)
            except Empty:
                return
            await lease.ack()
            await self.orders.put(lease.message)


@wrong("dead_letters_and_replay", "ack-before-put")
class ThrowsAway(_Desk):
    async def bury(self, lease: Lease, error: Exception) -> None:
        await lease.ack()


@wrong("dead_letters_and_replay", "retries-for-ever")
class NeverGivesUp(_Desk):
    async def failed(self, lease: Lease, error: Exception) -> None:
        await lease.nack()


@wrong("dead_letters_and_replay", "wrong-count")
class OneMoreTime(_Desk):
    async def failed(self, lease: Lease, error: Exception) -> None:
        if lease.failures < self.limit:
            await lease.nack()
        else:
            await self.bury(lease, error)


@wrong("dead_letters_and_replay", "wrong-count")
class GivesUpAtOnce(_Desk):
    async def failed(self, lease: Lease, error: Exception) -> None:
        await self.bury(lease, error)


@wrong("dead_letters_and_replay", "rewritten-letter")
class WritesItAnew(_Desk):
    def letter(self, message: Message, error: Exception) -> Message:
        return Message(message.body, headers={**message.headers, "reason": str(error)})


@wrong("dead_letters_and_replay", "rewritten-letter")
class ForgetsTheHeaders(_Desk):
    def letter(self, message: Message, error: Exception) -> Message:
        return message.copy(headers={"reason": str(error)})


@wrong("dead_letters_and_replay", "no-reason")
class GivesNoReason(_Desk):
    def letter(self, message: Message, error: Exception) -> Message:
        return message


@wrong("dead_letters_and_replay", "poison-stops-the-rest")
class ThinksAboutIt(_Desk):
    async def failed(self, lease: Lease, error: Exception) -> None:
        await anyio.sleep(20)
        await super().failed(lease, error)


@wrong("dead_letters_and_replay", "replay-never-returns")
class WaitsForMore(_Desk):
    async def replay(self) -> None:
        while True:
            lease = await self.dead.receive()
            await self.orders.put(lease.message)
            await lease.ack()


@wrong("dead_letters_and_replay", "replayed-out-of-order")
class NewestFirst(_Desk):
    async def replay(self) -> None:
        leases = []
        try:
            while True:
                leases.append(await self.dead.receive(timeout=0))
        except Empty:
            for lease in reversed(leases):
                await self.orders.put(lease.message)
                await lease.ack()


@wrong("dead_letters_and_replay", "not-replayed")
class BringsOneBack(_Desk):
    async def replay(self) -> None:
        lease = await self.dead.receive(timeout=0)
        await self.orders.put(lease.message)
        await lease.ack()


# Book each payment once


@right("idempotent_receiver")
async def marks_first_in_the_same_transaction(message: Message, books: Books, book: Book) -> None:
    async with books.transaction() as transaction:
        if not transaction.get(message.id):
            transaction.set(message.id, "booked")
            await book(message, transaction)


@right("idempotent_receiver")
async def tries_again_after_a_conflict(message: Message, books: Books, book: Book) -> None:
    while True:
        try:
            return await marks_first_in_the_same_transaction(message, books, book)
        except Conflict:
            continue


@right("idempotent_receiver")
async def hands_back_what_is_in_work(message: Message, books: Books, book: Book) -> None:
    """A claim in the books says who is at work until when; whoever finds one comes back later."""
    async with books.transaction() as transaction:
        state = transaction.get(message.id, 0.0)
        if state == "booked":
            return
        if state > anyio.current_time():
            raise RuntimeError("somebody is at work on it")
        mine = anyio.current_time() + 15
        transaction.set(message.id, mine)
    async with books.transaction() as transaction:
        if transaction.get(message.id) == mine:
            await book(message, transaction)
            transaction.set(message.id, "booked")


@wrong("idempotent_receiver", "no-record-in-the-books")
async def books_and_hopes(message: Message, books: Books, book: Book) -> None:
    async with books.transaction() as transaction:
        await book(message, transaction)


@wrong("idempotent_receiver", "no-record-in-the-books")
async def remembers_in_its_head(message: Message, books: Books, book: Book) -> None:
    seen: set[str] = getattr(books, "seen", set())  # as one global set for each run
    books.seen = seen  # type: ignore[attr-defined]
    if message.id not in seen:
        await books_and_hopes(message, books, book)
        seen.add(message.id)


@wrong("idempotent_receiver", "recorded-before-the-effect")
async def marks_and_then_books(message: Message, books: Books, book: Book) -> None:
    async with books.transaction() as transaction:
        if transaction.get(message.id):
            return
        transaction.set(message.id, True)
    await books_and_hopes(message, books, book)


@wrong("idempotent_receiver", "recorded-after-the-effect")
async def books_and_then_marks(message: Message, books: Books, book: Book) -> None:
    async with books.transaction() as transaction:
        if transaction.get(message.id):
            return
        await book(message, transaction)
    async with books.transaction() as transaction:
        transaction.set(message.id, True)


@wrong("idempotent_receiver", "checked-too-early")
async def looks_and_then_books(message: Message, books: Books, book: Book) -> None:
    async with books.transaction() as transaction:
        if transaction.get(message.id):
            return
    async with books.transaction() as transaction:
        await book(message, transaction)
        transaction.set(message.id, True)


@wrong("idempotent_receiver", "duplicate-acked-too-early")
async def skips_what_is_in_work(message: Message, books: Books, book: Book) -> None:
    in_work: set[str] = getattr(books, "in_work", set())
    books.in_work = in_work  # type: ignore[attr-defined]
    if message.id in in_work:
        return
    in_work.add(message.id)
    try:
        await marks_first_in_the_same_transaction(message, books, book)
    finally:
        in_work.discard(message.id)


@wrong("idempotent_receiver", "never-booked")
async def misspells(message: Any, books: Books, book: Book) -> None:
    async with books.transaction() as transaction:
        if not transaction.get(message.identity):
            await book(message, transaction)


# Keep the order of each customer


def _customer(lease: Lease) -> str:
    return str(lease.message.headers["customer"])


async def _crew(workers: int, worker: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(workers):
            group.start_soon(worker)


async def _do(lease: Lease, handle: Handler) -> None:
    await handle(lease.message)
    await lease.ack()


@right("order_per_key")
async def a_lock_for_each_customer(queue: Queue, handle: Handler, workers: int) -> None:
    locks: dict[str, anyio.Lock] = {}

    async def worker() -> None:
        while True:
            lease = await queue.receive()
            async with locks.setdefault(_customer(lease), anyio.Lock()):
                await _do(lease, handle)

    await _crew(workers, worker)


@right("order_per_key")
async def a_worker_for_each_customer(queue: Queue, handle: Handler, workers: int) -> None:
    """Partitions: the customer's name decides which worker gets the message."""
    lines: list[deque[Lease]] = [deque() for _ in range(workers)]
    news = [anyio.Semaphore(0) for _ in range(workers)]

    async def worker(place: int) -> None:
        while True:
            await news[place].acquire()
            await _do(lines[place].popleft(), handle)

    async with anyio.create_task_group() as group:
        for place in range(workers):
            group.start_soon(worker, place)
        while True:
            lease = await queue.receive()
            place = zlib.crc32(_customer(lease).encode()) % workers
            lines[place].append(lease)
            news[place].release()


@wrong("order_per_key", "two-of-a-key-at-once")
async def whoever_is_free(queue: Queue, handle: Handler, workers: int) -> None:
    async def worker() -> None:
        while True:
            await _do(await queue.receive(), handle)

    await _crew(workers, worker)


@wrong("order_per_key", "key-overtaken")
async def looks_again_and_again(queue: Queue, handle: Handler, workers: int) -> None:
    busy: set[str] = set()

    async def worker() -> None:
        while True:
            lease = await queue.receive()
            while _customer(lease) in busy:
                await anyio.sleep(0.1)
            busy.add(_customer(lease))
            await _do(lease, handle)
            busy.remove(_customer(lease))

    await _crew(workers, worker)


@wrong("order_per_key", "key-overtaken")
async def puts_it_back(queue: Queue, handle: Handler, workers: int) -> None:
    busy: set[str] = set()

    async def worker() -> None:
        while True:
            lease = await queue.receive()
            if _customer(lease) in busy:
                await lease.nack(delay=5)
                continue
            busy.add(_customer(lease))
            await _do(lease, handle)
            busy.remove(_customer(lease))

    await _crew(workers, worker)


@wrong("order_per_key", "no-concurrency")
async def one_after_the_other(queue: Queue, handle: Handler, workers: int) -> None:
    while True:
        await _do(await queue.receive(), handle)


@wrong("order_per_key", "no-concurrency")
async def one_lock_for_all(queue: Queue, handle: Handler, workers: int) -> None:
    lock = anyio.Lock()

    async def worker() -> None:
        while True:
            lease = await queue.receive()
            async with lock:
                await _do(lease, handle)

    await _crew(workers, worker)


async def _lines(queue: Queue, handle: Handler) -> None:
    """A task for each customer, as many as there are."""
    lines: dict[str, deque[Lease]] = {}

    async def serve(customer: str) -> None:
        while lines[customer]:
            await _do(lines[customer][0], handle)
            lines[customer].popleft()
        del lines[customer]

    async with anyio.create_task_group() as group:
        while True:
            lease = await queue.receive()
            waits = _customer(lease) in lines
            lines.setdefault(_customer(lease), deque()).append(lease)
            if not waits:
                group.start_soon(serve, _customer(lease))


@wrong("order_per_key", "too-many-at-once")
async def a_task_for_each_customer(queue: Queue, handle: Handler, workers: int) -> None:
    await _lines(queue, handle)


@wrong("order_per_key", "left-behind")
async def forgets_who_waits(queue: Queue, handle: Handler, workers: int) -> None:
    busy: set[str] = set()

    async def worker() -> None:
        while True:
            lease = await queue.receive()
            if _customer(lease) not in busy:
                busy.add(_customer(lease))
                await _do(lease, handle)
                busy.remove(_customer(lease))

    await _crew(workers, worker)


@wrong("order_per_key", "acked-out-of-step")
async def acks_on_receive(queue: Queue, handle: Handler, workers: int) -> None:
    locks: dict[str, anyio.Lock] = {}

    async def worker() -> None:
        while True:
            lease = await queue.receive()
            await lease.ack()
            async with locks.setdefault(_customer(lease), anyio.Lock()):
                await handle(lease.message)

    await _crew(workers, worker)
