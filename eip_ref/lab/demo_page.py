"""The page around a demo: names and length of its sliders, and a word while its scenario runs."""

from __future__ import annotations

import anywidget

__all__ = ["DemoPage"]


class DemoPage(anywidget.AnyWidget):
    """Gives a demo what ipywidgets leaves out.

    Its sliders have names for screen readers, and some length in a narrow window. What a run has said is
    dimmed while the next one runs for longer than a moment.
    """

    _esm = """
    export default {
      render({ el }) {
        el.style.display = "none";
        const handles = () => [...(el.closest(".eip-demo")?.querySelectorAll(".noUi-handle") ?? [])];
        const name = (handle) => {
          const label = handle.closest(".widget-slider")?.querySelector(".widget-label");
          if (label) handle.setAttribute("aria-label", label.textContent);
        };
        let tries = 0; // the sliders appear when their own views are ready
        const timer = setInterval(() => {
          handles().forEach(name);
          if (++tries === 20) clearInterval(timer);
        }, 250);
        return () => clearInterval(timer);
      },
    };
    """
    _css = """
    @media (max-width: 640px) {
      .eip-demo .widget-slider { flex-wrap: wrap; height: auto; }
      .eip-demo .widget-slider > .slider-container { min-width: 50px; }
    }
    .eip-demo .eip-words { position: relative; }
    .eip-running .eip-words > * { animation: eip-old 0s 0.3s forwards; }
    .eip-running .eip-words::after {
      animation: eip-now 0s 0.3s forwards;
      background: var(--jp-layout-color0, var(--vscode-editor-background, #fff));
      content: "Running …"; font-weight: 600; padding: 2px 8px;
      position: absolute; right: 0; top: 0; visibility: hidden;
    }
    @keyframes eip-old { to { opacity: 0.4; } }
    @keyframes eip-now { to { visibility: visible; } }
    """
