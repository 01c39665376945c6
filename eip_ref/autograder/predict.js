// A prediction: radio buttons, a button to commit, and the answer once the kernel has sent it.

const STYLE = `
.eip-predict { font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: 14px;
  line-height: 1.5; color: var(--jp-content-font-color1, inherit); max-width: 860px; box-sizing: border-box;
  margin: 6px 0; padding: 12px 18px; border: 1px solid var(--jp-border-color2, #c8ccd1);
  border-left: 6px solid #0072B2; border-radius: 6px; }
.eip-predict fieldset { border: 0; margin: 0; padding: 0; min-width: 0; }
.eip-predict legend { padding: 0; margin: 0 0 8px 0; font-size: 15px; font-weight: 600; }
.eip-predict label { display: flex; gap: 10px; align-items: baseline; padding: 5px 10px; margin: 2px 0;
  border: 1px solid transparent; border-radius: 4px; cursor: pointer; }
.eip-predict label:hover { border-color: var(--jp-border-color1, #9aa0a6); }
.eip-predict label:has(input:checked) { border-color: #0072B2; }
.eip-predict.done label { cursor: default; border-color: transparent; }
.eip-predict.done label:has(input:checked) { border-color: var(--jp-border-color1, #9aa0a6); }
.eip-predict .mine { margin-left: auto; white-space: nowrap; }
.eip-predict input { margin: 0; accent-color: #0072B2; }
.eip-predict input:focus-visible, .eip-predict button:focus-visible {
  outline: 3px solid #E69F00; outline-offset: 2px; }
.eip-predict button { font: inherit; font-weight: 600; margin: 10px 0 2px 0; padding: 6px 16px;
  color: #ffffff; background: #0072B2; border: 1px solid #0072B2; border-radius: 4px; cursor: pointer; }
.eip-predict button:disabled { color: inherit; background: transparent; cursor: default;
  border-color: var(--jp-border-color1, #9aa0a6); }
.eip-predict .outcome p { margin: 6px 0 0 0; }
.eip-predict .outcome .verdict { margin-top: 12px; padding-left: 10px; font-weight: 600; border-left: 4px solid; }
.eip-predict .outcome .right { border-color: #009E73; }
.eip-predict .outcome .wrong { border-color: #D55E00; }
.eip-predict code, .eip-predict pre { font-family: var(--jp-code-font-family, monospace); font-size: 13px; }
`;

function element(tag, props = {}, ...children) {
  const made = Object.assign(document.createElement(tag), props);
  made.append(...children);
  return made;
}

function choices(model) {
  return model.get("options").map((option, index) => {
    const input = element("input", { type: "radio", name: "prediction", value: String(index) });
    return element("label", {}, input, element("span", { innerHTML: option }));
  });
}

function render({ model, el }) {
  const legend = element("legend", { innerHTML: model.get("question") });
  const fieldset = element("fieldset", {}, legend, ...choices(model));
  const commit = element("button", { type: "submit", textContent: "This is my prediction", disabled: true });
  const outcome = element("div", { className: "outcome" });
  outcome.setAttribute("aria-live", "polite");
  // A form of its own keeps the radio buttons of two predictions apart, and lets Enter commit.
  const root = element("form", { className: "eip-predict" }, fieldset, commit, outcome);
  const inputs = [...fieldset.querySelectorAll("input")];
  // Else JupyterLab takes the arrow keys and Enter for itself. It looks at the focused element alone.
  for (const control of [...inputs, commit]) control.dataset.lmSuppressShortcuts = "true";

  function lock(choice) {
    root.classList.add("done");
    fieldset.disabled = true;
    inputs[choice].checked = true;
    if (!fieldset.querySelector(".mine")) {
      inputs[choice].parentElement.append(element("em", { className: "mine", textContent: "your prediction" }));
    }
  }

  function show() {
    const choice = model.get("choice");
    if (choice < 0) return;
    lock(choice);
    const told = model.get("outcome");
    commit.hidden = "verdict" in told;
    commit.disabled = true;
    if (!("verdict" in told)) {
      commit.textContent = "Waiting for the kernel …";
      return;
    }
    const mark = told.right ? "verdict right" : "verdict wrong";
    outcome.replaceChildren(
      element("p", { className: mark, innerHTML: told.verdict }),
      element("p", { innerHTML: told.why }),
    );
  }

  // The button that has the focus goes; with the next cell in focus, Shift+Enter goes on from there.
  function goOn() {
    const cell = root.closest(".jp-Cell");
    const next = cell?.nextElementSibling;
    (next?.matches(".jp-Cell") ? next : cell)?.focus({ preventScroll: true });
  }

  fieldset.addEventListener("change", () => {
    commit.disabled = false;
  });
  root.addEventListener("submit", (event) => {
    event.preventDefault();
    model.set("choice", inputs.findIndex((input) => input.checked));
    model.save_changes();
    show();
    goOn();
  });
  model.on("change:outcome", show);
  el.append(element("style", { textContent: STYLE }), root);
  show();
  return () => model.off("change:outcome", show);
}

export default { render };
