"""How `course.py lab` sets JupyterLab up. Jupyter reads this file because the folder is in JUPYTER_CONFIG_PATH."""

import warnings

WIDGET = "application/vnd.jupyter.widget-view+json"
NEWS = "@jupyterlab/apputils-extension:announcements"


def let_labs_sleep(model, **_):
    """Before a notebook is saved, take live widgets out wherever a picture stands beside them.

    A widget lives as long as its kernel. Opened again, a stored one would win over the picture, and show an error.
    """
    content = model.get("content")
    if model.get("type") != "notebook" or not content:
        return
    for cell in content.get("cells", ()):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/html" in data:
                data.pop(WIDGET, None)
    content.get("metadata", {}).pop("widgets", None)


def hush(_handler, page_config):
    """Leave out the extension that asks whether to show Jupyter's news."""
    page_config["disabledExtensions"] = [*page_config.get("disabledExtensions", ()), NEWS]
    return page_config


# Jupyter applies its configuration twice, and says of the second time that a hook was overridden.
warnings.filterwarnings("ignore", "Overriding existing pre_save_hook")

c = get_config()  # noqa: F821  (Jupyter puts it there)
c.ContentsManager.pre_save_hook = let_labs_sleep
c.ServerApp.tornado_settings = {"page_config_hook": hush}
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.KernelManager.transport_encryption = "auto"  # between server and kernels, where both can; else there is a warning
c.Application.log_level = "ERROR"  # leaves the address, which is all a learner needs
