"""The sliders of a demo: their names for screen readers, and room to move in a narrow window."""

from __future__ import annotations

import anywidget

__all__ = ["SliderNames"]


class SliderNames(anywidget.AnyWidget):
    """Gives the sliders of a demo what ipywidgets leaves out: names for screen readers, and some length."""

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
    .eip-demo .widget-slider { flex-wrap: wrap; height: auto; }
    .eip-demo .widget-slider > .slider-container { min-width: 50px; }
    """
