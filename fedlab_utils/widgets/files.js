// A button that downloads what the kernel makes, and a field that takes a file. No build step: anywidget loads it.

function make(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

function download(model, el) {
  const label = model.get("label");
  const button = make("button", "fedlab-download jupyter-button", label);
  button.type = "button";
  const said = make("span", "fedlab-file-said");
  said.setAttribute("role", "status");
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    said.textContent = "is being made ...";
    model.send({ kind: "make" });
  });
  const came = (message, buffers) => {
    button.removeAttribute("aria-busy");
    said.textContent = message.kind === "no" ? message.why : "";
    if (message.kind !== "file") return;
    const address = URL.createObjectURL(new Blob([buffers[0]], { type: "application/octet-stream" }));
    const link = make("a", "");
    link.href = address;
    link.download = message.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  };
  model.on("msg:custom", came);
  el.append(button, said);
  return () => model.off("msg:custom", came);
}

function upload(model, el) {
  const label = make("label", "fedlab-file-label", model.get("label"));
  const field = make("input", "fedlab-upload");
  const said = make("p", "fedlab-file-said");
  said.setAttribute("role", "status");
  field.type = "file";
  field.accept = model.get("accept");
  field.addEventListener("change", async () => {
    const [file] = field.files;
    if (!file) return;
    const most = model.get("most");
    if (file.size > most) {
      said.textContent =
        `The file has ${file.size.toLocaleString("en")} bytes, and at most ${most.toLocaleString("en")} are read. ` +
        "It was not sent.";
    } else {
      said.textContent = "is being read ...";
      model.send({ kind: "file" }, undefined, [await file.arrayBuffer()]);
    }
    field.value = ""; // the same file can be chosen again
  });
  const say = () => {
    said.textContent = model.get("said");
  };
  model.on("change:said", say);
  say();
  label.append(field);
  el.append(label, said);
  return () => model.off("change:said", say);
}

function render({ model, el }) {
  el.classList.add("fedlab-file");
  el.addEventListener("keydown", (event) => ["Enter", " "].includes(event.key) && event.stopPropagation());
  return model.get("kind") === "download" ? download(model, el) : upload(model, el);
}

export default { render };
