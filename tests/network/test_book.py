"""A hospital's book: whole lines, torn lines, damaged lines, and who may open it."""

import json
import os
import stat

import pytest

from fedlab_utils.network.book import Another, Book


def test_lines_are_there_again(tmp_path):
    with Book(tmp_path / "a") as book:
        book.write("charged", agreement="x", round=1)
        book.write("charged", agreement="x", round=2)
        book.write("noise", agreement="x", value=1.5)
    with Book(tmp_path / "a") as book:
        assert [line["round"] for line in book.of("charged", agreement="x")] == [1, 2]
        assert list(book.of("charged", round=2, agreement="y")) == []


@pytest.mark.parametrize(
    "torn", [b'{"what":"cha', b'{"what":"charged","round":2}', b"\0" * 40, b"\0" * 40 + b"\n", b"\xff"]
)
def test_a_torn_last_line_is_cut_off_and_the_next_is_whole(tmp_path, torn):
    with Book(tmp_path) as book:
        book.write("charged", round=1)
    place = tmp_path / "book.jsonl"
    place.write_bytes(place.read_bytes() + torn)
    with Book(tmp_path) as book:
        assert [line["round"] for line in book.of("charged")] == [1]
        book.write("charged", round=3)
    assert [json.loads(line)["round"] for line in place.read_text().splitlines()] == [1, 3]


@pytest.mark.parametrize("damaged", [b'{"what":"charged",}\n', b"[]\n", b'{"round":2}\n', b"\n"])
def test_a_damaged_line_is_refused_for_nobody_knows_what_was_spent(tmp_path, damaged):
    with Book(tmp_path) as book:
        book.write("charged", round=1)
    place = tmp_path / "book.jsonl"
    place.write_bytes(damaged + place.read_bytes())
    with pytest.raises(ValueError, match="^Line 1 of .*book.jsonl is damaged"):
        Book(tmp_path)
    place.write_bytes(place.read_bytes()[len(damaged) :] + damaged)
    with pytest.raises(ValueError, match="^Line 2 of .*book.jsonl is damaged"):
        Book(tmp_path)


def test_one_process_at_a_time(tmp_path):
    with Book(tmp_path), pytest.raises(ValueError, match="^folder must belong to one hospital that runs once"):
        Book(tmp_path)
    Book(tmp_path).close()


def test_answers_are_kept_for_one_round_and_are_the_same_bytes(tmp_path):
    with Book(tmp_path) as book:
        book.keep("a" * 64, 1, "train", b"asked", b"answer 1")
        assert book.answer("a" * 64, 1, "train", b"asked") == b"answer 1"
        assert book.answer("a" * 64, 1, "mask", b"asked") is None
        with pytest.raises(Another):
            book.answer("a" * 64, 1, "train", b"something else")
        book.keep("a" * 64, 10, "train", b"asked", b"answer 10")
    kept = sorted(path.name for path in tmp_path.glob("answer*"))
    assert kept == ["answer-aaaaaaaaaaaa-10-train.bin"]


def test_a_damaged_answer_is_not_sent(tmp_path):
    with Book(tmp_path) as book:
        book.keep("a" * 64, 1, "train", b"asked", b"answer")
        next(tmp_path.glob("answer*")).write_bytes(b"anders")
        with pytest.raises(ValueError, match="is damaged; it is not sent"):
            book.answer("a" * 64, 1, "train", b"asked")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_its_owner_alone_can_read_it(tmp_path):
    with Book(tmp_path / "new") as book:
        book.keep("a" * 64, 1, "train", b"asked", b"answer")
    for path in [tmp_path / "new", *(tmp_path / "new").iterdir()]:
        assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path


def test_nothing_follows_half_a_line(tmp_path, monkeypatch):
    with Book(tmp_path) as book:
        book.write("charged", round=1)
        file = book._file

        class Full:
            def write(self, text):
                file.write(text[:5])
                raise OSError("no space left on device")

            def __getattr__(self, name):
                return getattr(file, name)

        monkeypatch.setattr(book, "_file", Full())
        with pytest.raises(OSError, match="no space left"):
            book.write("charged", round=2)
        monkeypatch.setattr(book, "_file", file)
        with pytest.raises(OSError, match="start this hospital again"):
            book.write("charged", round=3)
    with Book(tmp_path) as book:
        assert [line["round"] for line in book.of("charged")] == [1]
