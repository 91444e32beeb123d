"""Which images are shown, and where."""

from itertools import count

from consumer.liveview.board import PATIENCE_SECONDS, Board
from consumer.liveview.recent import Item

numbers = count()


def item(seen: float = 0.0) -> Item:
    number = next(numbers)
    return Item(number, str(number), seen)


def settled(board: Board, many: int) -> list[Item]:
    items = [item() for _ in range(many)]
    for one in items:
        one.state = "answered"
        board.settled(one)
    return items


def test_places_are_filled_in_turn_and_keep_what_they_have() -> None:
    board = Board(size=3, per_second=100, now=0.0)
    first = settled(board, 2)
    board.turn(1.0)
    assert board.places == [*first, None]
    second = settled(board, 2)
    board.turn(2.0)
    assert board.places == [second[1], first[1], second[0]]
    assert board.latest == second[1].number


def test_of_too_many_the_latest_are_shown() -> None:
    board = Board(size=10, per_second=8, now=0.0)
    items = settled(board, 10)
    board.turn(0.25)
    assert board.places[:3] == [*items[-2:], None]


def test_an_image_without_an_answer_is_shown_once_it_has_waited_and_stays_where_it_is() -> None:
    board = Board(size=3, per_second=100, now=0.0)
    waiting = item()
    board.arrived(waiting)
    board.turn(PATIENCE_SECONDS / 2)
    assert waiting not in board.places
    board.turn(PATIENCE_SECONDS)
    assert board.places == [waiting, None, None]
    waiting.state = "answered"
    board.settled(waiting)
    board.turn(2 * PATIENCE_SECONDS)
    assert board.places == [waiting, None, None]


def test_an_image_that_was_answered_in_time_is_shown_once() -> None:
    board = Board(size=3, per_second=100, now=0.0)
    (quick,) = settled(board, 1)
    board.arrived(quick)
    board.turn(PATIENCE_SECONDS)
    board.turn(2 * PATIENCE_SECONDS)
    assert board.places == [quick, None, None]
