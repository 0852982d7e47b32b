"""What `course.py lab` hands JupyterLab: labs that sleep in a saved notebook, and no noise."""

import copy
from types import SimpleNamespace

import pytest

from tests.browser import browser

WIDGET = "application/vnd.jupyter.widget-view+json"


class Config(SimpleNamespace):
    def __getattr__(self, name):
        self.__dict__[name] = Config()
        return self.__dict__[name]


@pytest.fixture
def config():
    made = Config()
    exec((browser.CONFIG / "jupyter_server_config.py").read_text(encoding="utf-8"), {"get_config": lambda: made})
    return made


def notebook(*outputs):
    cells = [{"cell_type": "markdown", "source": "x"}, {"cell_type": "code", "outputs": list(outputs)}]
    return {"type": "notebook", "content": {"cells": cells, "metadata": {"widgets": {"state": {}}, "kernelspec": {}}}}


def test_a_saved_lab_is_its_picture(config):
    lab = {"output_type": "display_data", "data": {WIDGET: {"model_id": "a"}, "text/html": "<figure>"}}
    bare = {"output_type": "display_data", "data": {WIDGET: {"model_id": "b"}, "text/plain": "IntSlider()"}}
    model = notebook(lab, bare, {"output_type": "stream", "text": "words"})
    config.ContentsManager.pre_save_hook(model=model, path="a.ipynb", contents_manager=None)
    saved = model["content"]["cells"][1]["outputs"]
    assert saved[0]["data"] == {"text/html": "<figure>"}
    assert saved[1]["data"].keys() == {WIDGET, "text/plain"}  # nothing stands beside this one
    assert saved[2]["text"] == "words" and model["content"]["metadata"] == {"kernelspec": {}}


@pytest.mark.parametrize("model", [{"type": "file", "content": "text"}, {"type": "notebook", "content": None}, {}])
def test_other_files_are_left_alone(config, model):
    before = copy.deepcopy(model)
    config.ContentsManager.pre_save_hook(model=model, path="a", contents_manager=None)
    assert model == before


def test_the_question_about_news_is_left_out(config):
    hook = config.ServerApp.tornado_settings["page_config_hook"]
    page = hook(None, {"disabledExtensions": ["another"]})
    assert page["disabledExtensions"] == ["another", "@jupyterlab/apputils-extension:announcements"]
