"""Files to the page and from it: what comes, what goes, and what is said when it cannot."""

import re

import pytest

from fedlab_utils.widgets import files
from fedlab_utils.widgets.files import Download, Upload


def said_by(upload):
    heard = []
    upload.observe(lambda change: heard.append(change["new"]), "said")
    return heard


def test_a_file_is_taken_and_the_same_sentence_is_news_every_time():
    came = []
    upload = Upload("Table", ".csv", 10, lambda content: came.append(content) or "Read.")
    heard = said_by(upload)
    for _ in range(2):
        upload._came(None, {"kind": "file"}, [memoryview(b"a,b")])
    assert came == [b"a,b"] * 2 and heard.count("Read.") == 2


@pytest.mark.parametrize(
    ("error", "want"),
    [(ValueError("No commas."), "No commas."), (KeyError("a patient's name"), "Something went wrong")],
)
def test_what_goes_wrong_is_a_sentence_that_holds_no_value_of_the_file(error, want):
    def wrong(*_):
        raise error

    upload, download, sent = Upload("Table", ".csv", 10, wrong), Download("Report", wrong), []
    download.send = lambda content, buffers=None: sent.append(content)
    upload._came(None, {"kind": "file"}, [b"x"])
    download._asked(None, {"kind": "make"}, [])
    assert want in upload.said and want in sent[0]["why"] and "patient" not in upload.said + sent[0]["why"]


def test_a_large_file_is_refused_even_if_the_page_sends_it():
    upload = Upload("Table", ".csv", 10, lambda content: pytest.fail("taken"))
    upload._came(None, {"kind": "file"}, [b"x" * 11])
    assert "at most 10 bytes" in upload.said


def test_other_messages_do_nothing():
    upload = Upload("Table", ".csv", 10, lambda content: pytest.fail("taken"))
    upload._came(None, {"kind": "other"}, [b"x"])
    upload._came(None, {"kind": "file"}, [])
    Download("Report", lambda: pytest.fail("made"))._asked(None, {"kind": "other"}, [])
    assert upload.said == ""


def test_a_download_sends_name_and_bytes():
    sent, download = [], Download("Report", lambda: ("a.html", "é"))
    download.send = lambda content, buffers: sent.append((content, buffers))
    download._asked(None, {"kind": "make"}, [])
    assert sent == [({"kind": "file", "name": "a.html"}, ["é".encode()])]


def test_the_page_reads_every_trait_that_is_sent():
    script = files.SCRIPT.read_text(encoding="utf-8")
    for name in ("kind", "label", "accept", "most", "said"):
        assert re.search(rf'get\("{name}"\)', script), name
