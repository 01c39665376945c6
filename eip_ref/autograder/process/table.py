"""The table of `surface.py`: for each class of the judge's objects the names that an answer may use."""

from __future__ import annotations

__all__ = ["SHARING", "TABLE"]

SHARING = frozenset({"event_sourcing/as_of", "event_sourcing/climb_the_ladder"})
"""The exercises whose promise is about changing what was handed over, besides those that write a test."""

END = "receive receive_nowait __aiter__ __anext__"  #: the receiving end of a channel
BLOCK = "__enter__ __exit__"

TABLE = {
    # Python's own, and a list that is shared
    "contextlib._GeneratorContextManager": BLOCK,
    "contextlib._AsyncGeneratorContextManager": "__aenter__ __aexit__",
    "autograder.process.handed_out._Shared": "append remove pop",
    # The patterns
    "point_to_point.PointToPointChannel": "fixed:name send receiver close receiver_is_here",
    "point_to_point.Receiver": END,
    "message_queue.LeaseQueue": """fixed:name fixed:lease capacity counts __len__ put
        receive receive_batch receive_nowait now:ack now:nack now:reject now:extend join peek purge close
        __aenter__ __aexit__""",
    "message_queue.MessageQueue": "put_nowait",
    "message_queue.Lease": """fixed:message fixed:sequence fixed:token fixed:deliveries
        fixed:failures fixed:consumer expires seconds queue over outcome shared:on_end
        of-queue:ack of-queue:nack of-queue:reject of-queue:extend""",
    "backpressure.Buffer": f"fixed:name put put_nowait close counts capacity __len__ {BLOCK} {END}",
    "publish_subscribe.PublishSubscribeChannel": """fixed:name publish subscribe unsubscribe durable
        join close __len__""",
    "publish_subscribe.Subscription": f"fixed:name leave dropped __len__ {BLOCK} {END}",
    "publish_subscribe.DurableSubscriber": f"fixed:name leave committed dropped {BLOCK} {END}",
    "publish_subscribe.Delivery": """fixed:message fixed:offset fixed:deliveries
        fixed:first fixed:generation ack nack committed""",
    "request_reply.Requestor": f"""fixed:name request receive scatter close waiting late
        duplicates {BLOCK}""",
    "event_sourcing.MemoryEventStore": "fixed:name append read read_all committed_up_to",
    "circuit_breaker.CircuitBreaker": """fixed:name __call__ call admit settle observe state
        generation health retry_after last_error""",
    # The lessons
    "course.point_to_point.counter.Counter": "__aiter__ __anext__",
    "course.message_queue.books.Books": "transaction",
    "course.message_queue.books.Transaction": "get set",
    "course.durable_queue.share_the_sync._WatchedDisk": "write sync",
    "course.durable_queue.share_the_sync.Inbox": "take",
    "course.durable_queue.share_the_sync.Put": "fixed:order confirm",
    "course.durable_queue.send_again.Notes": "read write",
    "course.durable_queue.brokers.Broker": "start put receive ack stop kill",
    "course.durable_queue.follow_the_log.Group": "read commit seek committed",
    "course.publish_subscribe.every_socket.Socket": "fixed:name send",
    "course.request_reply.catch_the_dispatcher.Dispatcher": "ask wait:hear waiting sent",
    "course.request_reply.pay_once.Bank": "request",
    "course.event_sourcing.follow_the_store.Desk": "keep note position write",
    "course.event_sourcing.follow_the_store.Sight": "horizon read_all",
    "course.event_sourcing.react_once.Memory": "get set",
    "course.event_sourcing.react_once.Orders": "last read_all",
    "course.event_sourcing.sell_once.Network": "append read",
    "course.cqrs.both_or_neither.Publishing": "publish",
    "course.cqrs.both_or_neither.Yielding": "commit get scan",
    "course.cqrs.catch_the_relay.OneByOne": "add fail run waiting told tries",
    "course.cqrs.not_before.View": "changed row seen",
    "course.cqrs.without_a_gap.View": "listen since",
    "course.cqrs.without_a_gap.Heard": "__aiter__ __anext__",
    "course.saga.finish_the_order._Log": "lines write",
    "course.saga.finish_the_order._Services": "do undo",
    "course.saga.sell_the_seats._Books": "get put delete",
    "course.saga.catch_the_coordinator.Coordinator": "order",
    "course.api_gateway.catch_the_page.Page": "page",
    "course.choosing.catch_the_broken_promise.Shop": "place settle done mail_is_away lose_the_next_answer",
    "course.choosing.storm.Door": "order say",
    "course.choosing.storm.Service": "do undo",
    "course.choosing.storm.Mail": "send put",
    "course.choosing.storm.Paper": "read write",
}
