"""What a lesson says in words of its numbers is read from its own runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from eip_ref.course.api_gateway import in_time
from eip_ref.course.circuit_breaker.outage import refused_in_vain
from eip_ref.course.cqrs import heard_by, on_the_wall, pages, three_browsers
from eip_ref.course.event_sourcing import delays, looks_in_words, the_history_demo, the_log_demo
from eip_ref.course.message_queue.stage import lost_and_repeated
from eip_ref.course.saga import holds, one_order
from eip_ref.course.saga.styles import outcome
from eip_ref.lab import simulate
from eip_ref.trace import Trace
from tests.notebooks.lessons import ROOT, prose, run

Names = dict[str, Any]


def small_buffer(names: Names) -> str:
    trace: Trace = names["away"].run(when_away="buffer", buffer=5, away=60)
    refused, sent = trace.count("refused"), trace.count("sent")
    return f"with room for 5, an outage of one minute cost {refused} of {sent} invoices"


def links(names: Names) -> str:
    direct, hub = (dict(names["counted"][wiring])[12] for wiring in ("direct", "through a hub"))
    return f"{hub} links in place of {direct} for twelve"


def two_minutes(names: Names) -> str:
    trace = simulate(names["one_worker"])
    left = trace.count("accepted") - trace.count("delivered")
    return {20: "After two minutes twenty orders wait"}[left]


def sweep(names: Names) -> str:
    runs = [lost_and_repeated(simulate(names["shift"], "last", half / 2 + 0.25)) for half in range(12)]
    assert sum(lost for lost, _ in runs) == 0
    return f"in {sum(twice > 0 for _, twice in runs)} of the {len(runs)} runs it did"


def hot(names: Names) -> str:
    return {99: "tried a hundred times a second"}[len(names["hot"].filter("delivered", message="m2"))]


def shared_sync(names: Names) -> str:
    rates = names["rates"]
    return (
        f"share it got {rates[10, 10, 0]:.0f} orders a second from our disk, and {rates[10, 1, 0]:.0f} when"
    )


def lost_in_memory(names: Names) -> str:
    strip = names["strips"]["in memory"]
    assert names["strips"]["same ids"].lost == 0
    return f"memory lost an order in {strip.lost} of {len(strip.signs)} runs, and the durable queue"


def new_ids(names: Names) -> str:
    strips = names["strips"]
    return {2: "New ids book twice in two more runs"}[strips["new ids"].twice - strips["same ids"].twice]


def dropped_unread(names: Names) -> str:
    return f"{names['unread'][600]} of 117 orders were dropped unread"


def anothers(names: Names) -> str:
    ten = names["by_callers"][10].filter("effect", test=lambda event: "another" in event.data["effect"])
    return f"in turn, with ten callers, {len(ten)} did"


def left_in_the_table(names: Names) -> str:
    (note,) = names["too_late"].filter("note")
    return {99: "Ninety-nine of them are in the table still"}[note.data["left"]]


def charged(names: Names) -> str:
    none, one = (names["by_key"][key].count("effect") for key in ("none", "one"))
    return f"only with one key: the same day then has {one} charges in place of {none}"


def company_card(names: Names) -> str:
    said = names["company"][3].result
    return f"of 10 tills {said['sold']} sold and {said['gave up']} gave up"


def noon(names: Names) -> str:
    demo = the_log_demo()
    words = demo.summary(demo.run(**{**demo.default_values, **demo.presets["At noon"]}))
    return f"after 24 facts, card 8 held {words.partition('card 8: ')[2].partition(',')[0]} euros"


def ended_well(names: Names) -> str:
    log, hand = (
        sum(names["told"](trace.result) == "all taken back" for trace in names[deaths].values())
        for deaths in ("log_deaths", "hand_deaths")
    )
    assert log == len(names["log_deaths"])
    return f"With a log, all {log} deaths ended well; with a list in memory, {hand}"


def half_a_story(names: Names) -> str:
    quiet = simulate(one_order, names["with_a_log"])
    begun, _, *_, rejected = (event.at for event in quiet.filter("effect"))
    return {6.0: "for six seconds everybody saw"}[rejected - begun]


def deaths(names: Names) -> str:
    with_ids, dual = (names["deaths"][name] for name in ("… and mail knows ids", "database, then broker"))
    right, all_of_them = with_ids.count("right"), len(with_ids.endings)
    lost = f"lost an event at {dual.count('lost')} of {len(dual.endings)}"
    return f"lost nothing at {right} of {all_of_them} deaths; the dual write {lost}"


def late_by_the_broker(names: Names) -> str:
    return f"{names['down'][30].result} s with the relay's defaults"


def refused_at_once(names: Names) -> str:
    ends = {name: [e.data["effect"] for e in run.filter("effect")] for name, run in names["remedies"].items()}
    refused = sum(end in ("BreakerOpen", "HalfOpenFull") for end in ends["both"])
    waited = [ends[name].count("TimeoutError") for name in ("both", "shorter timeout")]
    words = f"In the shop {refused} payers were refused at once"
    return f"{words}, and {waited[0]} timed out in place of {waited[1]}"


def seen_late(names: Names) -> str:
    return f"a sale was seen {delays(names['whole']):.2f} s late on average"


def beside(names: Names) -> str:
    few = {way: looks_in_words(trace).partition(" looks")[0] for way, trace in names["rebuilds"].items()}
    return {"0 of 40": "beside the live view none of 40 looks saw too little"}[few["beside"]]


def in_vain(names: Names) -> str:
    asked, broken = (names["resilient"][way].in_vain for way in ("ask with a key", "breaker"))
    return f"{broken} messages come to it in vain, and not {asked}"


def lost_one_way(names: Names) -> str:
    it = names["measured"]["one way"]
    return f"{it.lost} pieces of work are lost, {it.in_vain} of them because mail was away"


def final_answer(names: Names) -> str:
    return f"99 of 100 customers have their answer only after {names['measured']['saga'].answer} s"


def without_steps(names: Names) -> str:
    demo = the_history_demo()
    words = demo.summary(demo.run(**{**demo.default_values, **demo.presets["A step is missing"]}))
    assert words.startswith("8 of 12")
    return "with one step missing, 4 of 12 sales could not be read"


def two_styles(names: Names) -> str:
    ends = outcome(names["quiet"])
    cells = [f"{ends[style].messages} messages, {ends[style].at:g} s" for style in ends]
    return f"| no tea, nobody dies | {' | '.join(cells)} |"


def boxes_left(names: Names) -> str:
    wrong, right = (holds(names[run])["tea"] for run in ("written_back", "added"))
    return f"{right} boxes were left, and the books said {wrong}"


def silent(names: Names) -> str:
    heard = names["never"].filter("finished", where="choreographed")[-1].at
    stuck = names["never"].filter("state", where="choreographed")[-1].at
    return f"after {stuck - heard:.0f} s without news"


def not_found(names: Names) -> str:
    return f"{pages(names['looked'][0.5])['404']} of 100 customers were not in the view"


def marked_stale(names: Names) -> str:
    found = pages(names["by_version"])
    return f"a page waits {found['mean wait']} s, and {found['stale']} customers get a page with a note"


def missing_on_the_wall(names: Names) -> str:
    said = on_the_wall(names["without_the_fourth"], 55)
    missing = f"{said['missing']} charges are missing, the oldest for {said['oldest']} s"
    return f"{missing}, and the lag is {said['lag']} s"


def late_page(names: Names) -> str:
    after = names["fan_out"]["payment hangs"].end
    article = simulate(names["the_article"], names["Services"](payment=30), 17).end
    return f"it came after {after:.1f} s instead of {article:.1f} s"


def limited(names: Names) -> str:
    shares = {limit: in_time(trace) for limit, trace in names["by_limit"].items()}
    return f"With a limit of 80, {shares[80]} of 100 requests were in time, and with none {shares[None]}"


def one_train(names: Names) -> str:
    shown = heard_by(simulate(three_browsers, "one loop over all", 2.0))
    ((_, cents),) = set(shown.values())
    return f"one loop over all sockets showed {cents} of 1,200 cents to everybody"


def room_enough(names: Names) -> str:
    demo = names["the_slow_demo"]()
    done = [demo.run(capacity=room).filter("effect", where="stock")[-1].at for room in range(1, 31)]
    return f"`block` with room for {done.index(29.0) + 1} or more"


def late_for_the_news(names: Names) -> str:
    demo = names["news_demo"]()
    all_heard = [demo.summary(demo.run(joins=joins)).count("who came late 20") for joins in (0.0, 0.5, 1.0)]
    return {(1, 1, 0): "when it is there for the first one, at 0.5 s"}[tuple(all_heard)]


def hiccup_refuses(names: Names) -> str:
    demo = names["the_outage_demo"]()
    trace = demo.run(**demo.presets["A hiccup"])
    return f"{refused_in_vain(trace)} customers are refused in vain"


def hiccup_scored(names: Names) -> str:
    made, refused = names["score"](names["hiccup"]["with a breaker"])
    saved = names["score"](names["hiccup"]["without"]).made_in_vain - made
    return f"Not for outages shorter than the open time: {refused} refused in vain to save {saved}"


def wrong_prices(names: Names) -> str:
    wrong = names["answers"](names["aged"][600], "wrong")
    return f"Not with a fallback whose age nobody chose: {wrong} wrong prices"


def at_the_wrong_place(names: Names) -> str:
    calls = {name: run.count("arrived") for name, run in names["layers"].items()}
    return f"{calls['inside']} calls reached the sick service, and {calls['between']} with the timeout at the"


def naive_harm(names: Names) -> str:
    board = names["naive_board"]
    return f"charges {board.twice} customers more than once, and {board.for_nothing} pay for nothing"


def slow_saga(names: Names) -> str:
    return f"the saga alone made {names['steps']['+ saga'].slow} customers wait"


def price_of_the_bound(names: Names) -> str:
    breaker, shed = (names["steps"][f"+ {repair}"] for repair in ("breaker", "shed"))
    said = prose(ROOT / "notebooks" / "12b_the_whole_shop.ipynb")
    assert f"{breaker.sold} are sold" in said
    assert f"sent {shed.refused - breaker.refused} more customers away" in said
    return f"costs {breaker.sold - shed.sold} sales"


def patience_at_a_bound(names: Names) -> str:
    more = names["without"]["without breaker"].sold - names["steps"]["+ shed"].sold
    said = prose(ROOT / "notebooks" / "12b_the_whole_shop.ipynb")
    assert f"{more} more is sold in this storm" in said
    storm, repairs, hasty = (names[name] for name in ("storm", "REPAIRS", "hasty"))
    gained = [storm(*hasty, seed=seed).sold - storm(*repairs, seed=seed).sold for seed in range(1, 5)]
    assert all(gain > 0 for gain in gained)
    return "In each of the four more are sold without it"


def told(names: Names, demo: str, **settings: object) -> list[str]:
    """Each number that a demo tells with these settings."""
    shown = names[demo]()
    return re.findall(r"\d[\d,]*(?:\.\d+)?", shown.summary(shown.run(**{**shown.default_values, **settings})))


def last_room(names: Names) -> str:
    served, _, late, *_ = told(names, "the_rush_demo", answer="drop newest", capacity=49)
    assert late == "0"
    more = told(names, "the_rush_demo", answer="drop newest", capacity=50)[2]
    return f"the whole line is served in time: {served} customers. One place more, and {more} are late"


def more_packers(names: Names) -> str:
    served, came, *_, paid = told(names, "the_rush_demo", answer="scale", rush=40)
    assert served == came
    before = told(names, "the_rush_demo", answer="drop newest")[-1]
    return f"serves all {served} customers in time, and packers are paid for {paid} s instead of {before} s"


def small_enough(names: Names) -> str:
    last = {room: told(names, "the_spike_demo", capacity=room)[1] for room in (30, 60, 70, 100)}
    least = f"With room for 60 orders or fewer, the last minute serves {min(last[30], last[60])} or more"
    assert least in prose(ROOT / "notebooks" / "04b_credit_and_scaling.ipynb")
    return f"With room for 70 it serves {last[70]}, with room for 100 it serves {last[100]}."


def packers_at_once(names: Names) -> str:
    changes, _, work, _, _, wait = told(names, "the_scaler_demo", start_up=0)
    return f"the number changes {changes} times and it costs nothing: {work} s of work and a wait of {wait} s"


def a_tight_door(names: Names) -> str:
    came, _, _, away, *_ = told(names, "the_noon_demo", load=30, limit=5)
    assert told(names, "the_noon_demo", load=30, limit=20)[3] == "0"
    return f"On a quiet day a limit of 5 turns {away} of {came} away; 20 and more turn nobody away"


def twice_too_much(names: Names) -> str:
    share = {limit: told(names, "the_noon_demo", load=80, limit=limit)[4] for limit in (100, 80, 60)}
    assert max(share, key=lambda limit: int(share[limit])) == 80
    none = told(names, "the_noon_demo", load=80, limit="none")[4]
    return f"It serves {share[80]} of 100, and with no limit it is {none}"


@pytest.mark.parametrize(
    ("stem", "said"),
    [
        ("00_start_here", links),
        ("01_point_to_point", small_buffer),
        ("02a_competing_consumers", two_minutes),
        ("02b_acks_and_leases", sweep),
        ("02c_poison_and_duplicates", hot),
        ("03a_guaranteed_delivery", shared_sync),
        ("03a_guaranteed_delivery", lost_in_memory),
        ("03a_guaranteed_delivery", new_ids),
        ("03b_message_log", dropped_unread),
        ("04a_bounds_and_drops", last_room),
        ("04a_bounds_and_drops", more_packers),
        ("04b_credit_and_scaling", small_enough),
        ("04b_credit_and_scaling", packers_at_once),
        ("05a_everybody_hears", room_enough),
        ("06a_whose_answer", anothers),
        ("06a_whose_answer", left_in_the_table),
        ("06b_ask_again", charged),
        ("07a_facts_not_rows", company_card),
        ("07a_facts_not_rows", noon),
        ("07b_reading_it_all", seen_late),
        ("07b_reading_it_all", beside),
        ("07b_reading_it_all", late_for_the_news),
        ("07c_a_long_history", without_steps),
        ("09a_undo_in_order", ended_well),
        ("09a_undo_in_order", half_a_story),
        ("10a_when_to_stop_asking", hiccup_refuses),
        ("10a_when_to_stop_asking", refused_at_once),
        ("08a_state_and_event", deaths),
        ("08a_state_and_event", late_by_the_broker),
        ("11a_one_answer_of_many", late_page),
        ("11b_one_door", limited),
        ("11b_one_door", a_tight_door),
        ("11b_one_door", twice_too_much),
        ("12a_choosing", in_vain),
        ("12a_choosing", lost_one_way),
        ("12a_choosing", final_answer),
        ("09b_two_styles", two_styles),
        ("09b_two_styles", boxes_left),
        ("09b_two_styles", silent),
        ("08b_a_view_that_lags", not_found),
        ("08b_a_view_that_lags", marked_stale),
        ("08b_a_view_that_lags", missing_on_the_wall),
        ("08c_the_running_shop", one_train),
        ("10b_storms_and_fallbacks", hiccup_scored),
        ("10b_storms_and_fallbacks", wrong_prices),
        ("10b_storms_and_fallbacks", at_the_wrong_place),
        ("12b_the_whole_shop", naive_harm),
        ("12b_the_whole_shop", slow_saga),
        ("12b_the_whole_shop", price_of_the_bound),
        ("12b_the_whole_shop", patience_at_a_bound),
    ],
)
def test_a_number_in_prose_is_that_of_the_run(stem: str, said: Callable[[Names], str]) -> None:
    """Word for word, so that neither changes alone."""
    path = ROOT / "notebooks" / f"{stem}.ipynb"
    assert said(run(path).names) in prose(path)
