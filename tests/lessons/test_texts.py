"""`tools/lessons.py --texts`: words are stored again beside outputs that stay."""

import lessons
import nbformat


def test_words_are_stored_again_without_a_run_and_code_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "LESSONS", tmp_path)
    source, lesson = tmp_path / "01_words.py", tmp_path / "01_words.ipynb"
    source.write_text("# %% [markdown]\n# Old.\n\n# %%\nimport time\n\ntime.time_ns()\n", encoding="utf-8")
    assert lessons.build(source) == []
    first = nbformat.read(lesson, as_version=4)
    changed = source.read_text(encoding="utf-8").replace("# Old.", "# New.\n\n# %% [markdown]\n# More.")
    source.write_text(changed.replace("# %%\n", '# %% slideshow={"slide_type": "skip"}\n'), encoding="utf-8")
    assert lessons.retext(source) == []
    *texts, code = nbformat.read(lesson, as_version=4).cells
    assert [cell.source for cell in texts] == ["New.", "More."]
    assert (code.outputs, code.execution_count) == (first.cells[-1].outputs, 1) and code.outputs
    assert code.metadata.slideshow.slide_type == "skip"
    assert lessons.stored_hash(lesson) == lessons.source_hash(source)
    before = lesson.read_text(encoding="utf-8")
    source.write_text(changed.replace("time_ns", "time"), encoding="utf-8")
    assert "has to be run" in lessons.retext(source)[0] and lesson.read_text(encoding="utf-8") == before
