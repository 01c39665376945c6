"""The promises of a group whose place in the channel is kept, also while nobody of it is there."""

from __future__ import annotations

from eip_ref.message import Message

from .promises import Site, promise
from .test_channels import all_heard, heard


@promise
async def test_a_group_that_was_away_gets_what_it_missed(site: Site) -> None:
    """It goes on after what it had received."""
    async with site.open() as channel:
        member = await channel.subscribe("orders", group="invoices")
        await channel.publish("orders", Message(1))
        assert await heard(member) == 1
        await member.leave()
        await channel.publish("orders", Message(2))
        again = await channel.subscribe("orders", group="invoices")
        await channel.publish("orders", Message(3))
        assert await all_heard(again) == [2, 3]


@promise
async def test_the_place_of_a_group_survives_a_kill_of_the_broker(site: Site) -> None:
    """With all that was published while it was away."""
    async with site.open() as channel:
        member = await channel.subscribe("orders", group="invoices")
        await channel.publish("orders", Message(1))
        assert await heard(member) == 1
        await member.leave()
        await channel.publish("orders", Message(2))
        await channel.flush()
    await site.restart()
    async with site.open() as channel:
        again = await channel.subscribe("orders", group="invoices")
        assert await all_heard(again) == [2]


@promise
async def test_a_key_stays_with_one_member_of_a_group(site: Site) -> None:
    """Competing consumers, and yet each key has one worker, and its order."""
    async with site.open() as one, site.open() as two:
        members = [await channel.subscribe("orders", group="invoices") for channel in (one, two)]
        for number in range(40):
            await one.publish("orders", Message(number, key=f"customer {number % 8}"))
        shares = [await all_heard(member) for member in members]
        assert sorted(shares[0] + shares[1]) == list(range(40))
        assert all(shares), "one of the two got nothing"
        keys = [{number % 8 for number in share} for share in shares]
        assert not keys[0] & keys[1], "both got messages of one key"
        for key in range(8):
            of_key = [number for share in shares for number in share if number % 8 == key]
            assert of_key == sorted(of_key)
