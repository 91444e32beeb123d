"""An image that takes a server down, and several servers: who is put at risk, and how often."""

import random
from collections import Counter
from collections.abc import Sequence
from functools import partial

import pytest

import bridge.triton.member
from bridge.inference import Answer, Done, InferenceError
from bridge.tasks.task import AnswerError
from bridge.triton.addresses import Address
from bridge.triton.trials import AWAITED_S
from imaging.rules import Input, Size
from tests.bridge.triton.test_pool import DOWN, SILENT, FakeServer, Rig

POISON = b"poison"


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a server that is away speaks HTTP would be asked of real hosts of these names."""
    monkeypatch.setattr(bridge.triton.member, "not_triton", lambda _address: None)


class Mortal(FakeServer):
    """Goes down, with all that it has, when it is asked to answer a poisonous image."""

    went = 0
    how = DOWN

    def infer(
        self,
        images: Sequence[Input],
        done: Done,
        traceparent: str | None = None,
        sizes: Sequence[Size | None] = (),
    ) -> None:
        del traceparent, sizes
        if not isinstance(images[0], bytes):  # the probe
            done(Answer(self.version, [()]))
        elif self.down is not None:
            done(self.down)
        else:
            self.held.append((images, done))

    def work(self) -> None:
        """Answer the oldest batch, or go down with it."""
        if not self.held:
            return
        if POISON in self.held[0][0]:
            self.fail(self.how)
        else:
            self.answer()

    def fail(self, how: InferenceError) -> None:
        self.went += 1
        self.down = how
        held, self.held = self.held, []
        for _, done in held:
            done(how)


class Mortals(Rig):
    """Mortal servers, each started again some turns after it went."""

    turns_away = 3

    def connect(self, address: Address) -> FakeServer:
        name = address.text.partition(":")[0]
        self.servers[name] = self.mortals[name] = Mortal(name)
        self.away[name] = 0
        return self.servers[name]

    def start(self) -> "Mortals":
        self.mortals: dict[str, Mortal] = {}
        self.away: dict[str, int] = {}
        self.parked = 0
        super().start()
        self.pool.on_park(self.park)
        return self

    def park(self, batches: int) -> None:
        self.parked = batches

    def give(self, images: Sequence[bytes]) -> None:
        self.pool.infer(images, self.results.append, None, [None] * len(images))

    def turn(self, only: str = "abc") -> None:
        self.now += 1
        self.move()
        for name in only:
            server = self.mortals.get(name)
            if server is None:
                continue
            if server.down is None:
                server.work()
                continue
            self.away[name] += 1
            if self.away[name] >= self.turns_away:
                server.down, self.away[name] = None, 0
            self.look(name)
        self.move()

    def run(self, batches: int) -> None:
        for _ in range(400):
            if len(self.results) == batches:
                return
            self.turn()
        raise AssertionError(f"{len(self.results)} of {batches} came back")

    def went(self) -> dict[str, int]:
        return {name: one.went for name, one in self.mortals.items() if one.went}


def rows(result: Answer | InferenceError) -> list[str]:
    assert isinstance(result, Answer), result
    return [one.kind if isinstance(one, AnswerError) else "ok" for one in result.results]


@pytest.mark.parametrize("how", [DOWN, SILENT])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("names", ["ab", "abc"])
def test_one_server_at_most_goes_down_more_than_once_for_an_image(
    names: str, seed: int, how: InferenceError
) -> None:
    chance = random.Random(seed)  # noqa: S311 - an order, no secret
    rig = Mortals(names).start()
    for server in rig.mortals.values():
        server.how = how
    batch = [b"good-%d" % number for number in range(7)]
    batch.insert(chance.randrange(8), POISON)
    others = [[b"other-%d-%d" % (number, place) for place in range(4)] for number in range(3)]
    given = [batch, *others]
    chance.shuffle(given)
    for one in given:
        rig.give(one)
    rig.run(len(given))
    assert sum(count > 1 for count in rig.went().values()) <= 1
    assert len(rig.went()) <= 2, "the one that it had company on, and the one of its trials"
    found = Counter(kind for result in rig.results for kind in rows(result))
    assert found == {"ok": 7 + 12, how.status: 1}
    ((image, result),) = (
        (given_images[place], row)
        for given_images in [batch]
        for answer in rig.results
        if isinstance(answer, Answer) and len(answer.results) == 8
        for place, row in enumerate(answer.results)
        if isinstance(row, AnswerError)
    )
    assert image == POISON
    assert "Triton went away" in str(result)


def test_while_a_batch_is_tried_the_others_go_on_and_none_is_beside_it() -> None:
    rig = Mortals("abc").start()
    rig.give([POISON, b"1"])
    rig.mortals["a"].work()
    rig.give([b"2"])
    rig.give([b"3"])
    rig.move()
    assert [images for images, _ in rig.mortals["b"].held] == [[POISON, b"1"]]
    assert [images for images, _ in rig.mortals["c"].held] == [[b"2"], [b"3"]]


def test_a_trial_waits_until_its_server_has_nothing_else() -> None:
    rig = Mortals("ab").start()
    for images in ([POISON], [b"1"], [b"2"]):
        rig.give(images)
    assert rig.held() == {"a": 2, "b": 1}
    rig.mortals["a"].work()  # goes down with two batches
    rig.give([b"3"])  # for b, too, which is kept free
    rig.move()
    assert [images for images, _ in rig.mortals["b"].held] == [[b"1"]]
    rig.mortals["b"].work()
    rig.move()
    assert rig.held() == {"b": 1}


def test_those_that_were_beside_the_one_that_is_caught_are_free() -> None:
    rig = Mortals("abc").start()
    rig.give([POISON])
    rig.give([b"1"])
    rig.give([b"2"])
    rig.give([b"3"])  # with a, behind the poisonous one
    assert rig.held()["a"] == 2
    rig.run(4)
    assert Counter(tuple(rows(one)) for one in rig.results) == {("ok",): 3, ("UNAVAILABLE",): 1}


def test_servers_that_went_by_themselves_cost_no_image() -> None:
    rig = Mortals("abc").start()
    for number in range(6):
        rig.give([b"%d" % number, b"x"])
    for name in "ab":
        rig.mortals[name].fail(DOWN)
        rig.move()
    rig.run(6)
    assert all(rows(one) == ["ok", "ok"] for one in rig.results)


def test_a_server_that_is_only_busy_costs_no_image() -> None:
    rig = Mortals("ab").start()
    rig.give([b"1"])
    for _ in range(20):
        (busy,) = rig.held()
        rig.servers[busy].answer(InferenceError("UNAVAILABLE", "Exceeds maximum queue size"))
        rig.look(busy)  # and passes at once
        rig.move()
    rig.run(1)
    assert rows(rig.results[0]) == ["ok"]


def test_a_server_that_does_not_come_back_is_not_awaited_for_ever() -> None:
    rig = Mortals("abc").start()
    rig.give([POISON, b"1"])
    for name in "ab":
        rig.mortals[name].work()
        rig.move()
    rig.give([b"2"])
    rig.turn("c")
    assert rows(rig.results.pop()) == ["ok"]
    assert rig.parked == 1
    assert rig.held() == {}
    rig.now += AWAITED_S
    rig.check("c")
    rig.move()
    assert [images for images, _ in rig.mortals["c"].held] == [[POISON]]
    assert rig.parked == 0


def test_a_server_that_is_gone_for_good_is_not_awaited() -> None:
    rig = Mortals("abc").start()
    rig.give([POISON, b"1"])
    for name in "ab":
        rig.mortals[name].work()
        rig.move()
    assert rig.parked == 1
    rig.hosts = ["c"]
    rig.pool.refresh()
    rig.move()
    assert [images for images, _ in rig.mortals["c"].held] == [[POISON]]


def test_an_image_that_the_model_refuses_in_a_trial_is_the_only_one_refused() -> None:
    rig = Mortals("ab").start()
    rig.give([POISON, b"1", b"refused", b"3"])

    def refuse(server: Mortal) -> None:
        if server.held and b"refused" in server.held[0][0] and POISON not in server.held[0][0]:
            server.answer(InferenceError("INVALID_ARGUMENT", "no image"))

    for _ in range(100):
        for server in rig.mortals.values():
            refuse(server)
        rig.turn()
        if rig.results:
            break
    assert rows(rig.results[0]) == ["UNAVAILABLE", "ok", "INVALID_ARGUMENT", "ok"]


@pytest.mark.parametrize("seed", range(8))
def test_of_several_such_images_each_is_found_and_all_others_are_answered(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - places, no secret
    rig = Mortals("abc").start()
    given = [[b"good-%d-%d" % (n, m) for m in range(chance.randint(1, 8))] for n in range(6)]
    for one in chance.sample(given, 3):
        one[chance.randrange(len(one))] = POISON
    chance.choice(given).append(POISON)
    again = list(range(len(given)))
    found: dict[int, list[str]] = {}

    def done(place: int, result: Answer | InferenceError) -> None:
        if isinstance(result, Answer):
            found[place] = rows(result)
        else:  # there was no server: the pipeline tries it again
            again.append(place)

    for _ in range(1000):
        if len(found) == len(given):
            break
        for place in [again.pop() for _ in range(len(again))]:
            images = given[place]
            rig.pool.infer(images, partial(done, place), None, [None] * len(images))
        rig.turn()
    for place, images in enumerate(given):
        assert found[place] == ["UNAVAILABLE" if one == POISON else "ok" for one in images]
    assert rig.parked == 0
    assert rig.pool._balance.apart is None
