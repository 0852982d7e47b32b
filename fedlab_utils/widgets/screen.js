// The screen of a live lab: picture, sentence, progress and Cancel. It also gives the controls beside it names that a
// screen reader can say, and puts the lab to sleep when its kernel is gone. No build step: anywidget loads it as it is.

const ASLEEP =
  "This lab is asleep: its kernel was restarted or stopped. To wake it, run the cells from the top " +
  "(menu Run, Run All Above Selected Cell), then its own cell (Shift+Enter).";

function make(tag, name, attributes = {}) {
  const made = document.createElement(tag);
  made.className = name;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function address(bytes) {
  return URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
}

function swap(img, bytes) {
  const old = img.src;
  img.src = address(bytes);
  if (old.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(old), 1000);
}

// ---------------------------------------------------------------- the picture, large

function enlarge(model, el) {
  const large = make("dialog", "fedlab-large", { "aria-label": "The picture, large" });
  const img = make("img", "", { alt: model.get("alt") });
  img.src = address(model.get("picture")); // at once; one with more pixels follows if the kernel is there
  const close = make("button", "fedlab-close", { type: "button" });
  close.textContent = "Close";
  close.addEventListener("click", () => large.close());
  const sharper = (message, buffers) => {
    if (message.kind === "large") swap(img, buffers[0]);
  };
  model.on("msg:custom", sharper);
  large.addEventListener("click", (event) => event.target === large && large.close());
  large.addEventListener("keydown", (event) => event.stopPropagation()); // JupyterLab has shortcuts of its own
  large.addEventListener("close", () => {
    model.off("msg:custom", sharper);
    large.remove();
    el.querySelector(".fedlab-picture").focus();
  });
  large.append(close, img);
  el.append(large);
  large.showModal();
  model.send({ kind: "large" });
}

// ---------------------------------------------------------------- names for the controls

function nameControls(lab, names) {
  for (const [control, { label, unit }] of Object.entries(names)) {
    const row = lab.querySelector(`.fedlab-control-${CSS.escape(control)}`);
    if (!row) continue;
    const handle = row.querySelector(".noUi-handle");
    const readout = row.querySelector(".widget-readout");
    const whole = unit ? `${label} (${unit})` : label;
    if (handle) {
      put(handle, "aria-label", whole);
      if (readout) put(handle, "aria-valuetext", `${readout.textContent.trim()} ${unit}`.trim());
    }
    if (readout) {
      put(readout, "aria-label", `${whole}, as a number`);
      if (readout.isContentEditable) put(readout, "role", "textbox");
      else put(readout, "aria-hidden", "true"); // the handle says the same
    }
    for (const field of row.querySelectorAll("select, input")) put(field, "aria-label", whole);
  }
}

function put(element, attribute, value) {
  if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value); // else it would never end
}

// ---------------------------------------------------------------- the focus

// When a first run ends, the page puts a new view in the place of the one that somebody may be standing in.
let stood = null; // the view that has or had the focus, whose it is, and where in it

function hold(lab, whose) {
  const places = () => [...lab.querySelectorAll("button, select, input, [tabindex]")];
  if (stood && !stood.lab.isConnected) {
    if (stood.whose === whose && document.activeElement === document.body) places()[stood.at]?.focus();
    stood = null;
  }
  lab.addEventListener("focusin", (event) => (stood = { lab, whose, at: places().indexOf(event.target) }));
  lab.addEventListener("focusout", (event) => event.relatedTarget && (stood = null));
}

// ---------------------------------------------------------------- the screen

function render({ model, el }) {
  el.classList.add("fedlab-screen");
  const picture = make("button", "fedlab-picture", { type: "button", title: "Enlarge", hidden: "" });
  const img = make("img", "");
  picture.append(img);
  const parts = make("div", "fedlab-parts", { hidden: "", tabindex: "-1" }); // instead of a picture: pieces of HTML, each with its place
  const said = make("div", "fedlab-said", { role: "status" });
  const sentence = make("p", "fedlab-sentence");
  const setting = make("p", "fedlab-setting"); // equal results of two settings are announced, too
  said.append(sentence, setting);
  const error = make("p", "fedlab-error", { role: "alert", hidden: "" });
  const asleep = make("p", "fedlab-waking", { role: "status" });
  const bar = make("progress", "fedlab-progress", { max: "1", "aria-label": "Progress" });
  const cancel = make("button", "fedlab-cancel jupyter-button", { type: "button" });
  cancel.textContent = "Cancel";
  const time = make("span", "fedlab-time");
  const status = make("div", "fedlab-status");
  status.append(bar, cancel, time);
  el.append(asleep, ...(model.get("first") === "words" ? [said, status, error, picture, parts] : [picture, parts, said, error, status]));
  picture.addEventListener("click", () => enlarge(model, el));
  cancel.addEventListener("click", () => model.send({ kind: "cancel" }));
  // Enter and Space belong to the buttons here, not to JupyterLab
  el.addEventListener("keydown", (event) => ["Enter", " "].includes(event.key) && event.stopPropagation());

  const text = (place, name) => () => {
    if (place.textContent !== model.get(name)) place.textContent = model.get(name);
  };
  const paint = () => {
    const bytes = model.get("picture");
    picture.hidden = !bytes || !bytes.byteLength;
    if (picture.hidden) return;
    const size = new DataView(bytes.buffer, bytes.byteOffset + 16, 8); // with it the page does not jump
    img.width = size.getUint32(0);
    img.height = size.getUint32(4);
    swap(img, bytes);
  };
  const compose = () => {
    const given = Object.entries(model.get("parts"));
    parts.hidden = !given.length;
    for (const [name, html] of given) {
      let place = parts.querySelector(`:scope > [data-part="${CSS.escape(name)}"]`);
      if (!place) parts.append((place = make("section", `fedlab-part fedlab-part-${name}`, { "data-part": name })));
      if (place.fedlab !== html) {
        const open = place.querySelector("details")?.open; // what somebody unfolded stays so
        place.innerHTML = place.fedlab = html;
        if (open) place.querySelector("details")?.setAttribute("open", "");
      }
      place.hidden = !html;
    }
  };
  const describe = () => {
    img.alt = model.get("alt");
  };
  const fail = () => {
    error.textContent = model.get("error");
    error.hidden = !model.get("error");
  };
  const work = () => {
    const working = model.get("working");
    if (!working && document.activeElement === cancel) (picture.hidden ? parts : picture).focus(); // focus is not lost with the button
    for (const part of [bar, cancel]) part.style.visibility = working ? "visible" : "hidden";
    said.setAttribute("aria-busy", String(working)); // read aloud once it stands still
  };
  const dim = () => {
    for (const shown of [picture, parts]) shown.classList.toggle("fedlab-stale", model.get("stale"));
  };
  const advance = () => {
    bar.value = model.get("done");
  };
  const watched = [
    ["picture", paint],
    ["parts", compose],
    ["alt", describe],
    ["sentence", text(sentence, "sentence")],
    ["setting", text(setting, "setting")],
    ["note", text(time, "note")],
    ["error", fail],
    ["working", work],
    ["stale", dim],
    ["done", advance],
  ];
  for (const [name, show] of watched) {
    model.on(`change:${name}`, show);
    show();
  }

  // The lab around this screen is there only once the page has put it in place.
  let lab = null;
  const look = () => {
    if (!lab) return;
    nameControls(lab, model.get("names"));
    const gone = lab.classList.contains("jupyter-widgets-disconnected");
    if (gone && !lab.classList.contains("fedlab-asleep")) {
      lab.classList.add("fedlab-asleep");
      for (const row of lab.querySelectorAll("[class*='fedlab-control-']")) row.inert = true; // they would pretend
      for (const part of [bar, cancel]) part.style.visibility = "hidden";
      time.textContent = "";
      asleep.textContent = ASLEEP;
    }
  };
  const observer = new MutationObserver(look);
  const settle = setInterval(() => {
    lab = el.closest(".fedlab-lab");
    if (!lab) return;
    clearInterval(settle);
    const attributeFilter = ["class", "aria-valuenow"];
    observer.observe(lab, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter });
    look();
    hold(lab, JSON.stringify(model.get("names")));
  }, 50);

  return () => {
    clearInterval(settle);
    observer.disconnect();
    for (const [name, show] of watched) model.off(`change:${name}`, show);
    if (img.src.startsWith("blob:")) URL.revokeObjectURL(img.src);
  };
}

export default { render };
