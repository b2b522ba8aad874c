// The two places to draw at: a pad for mouse, pen and finger, and a grid for the keyboard.

import { SIDE } from "./bitmap.js";

export function showPad(canvas, bitmap) {
  const context = canvas.getContext("2d");
  const paint = () => {
    context.clearRect(0, 0, SIDE, SIDE);
    context.fillStyle = getComputedStyle(canvas).color;
    bitmap.points.forEach((point, i) => point && context.fillRect(i % SIDE, Math.floor(i / SIDE), 1, 1));
  };
  bitmap.addEventListener("change", paint);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

  let last = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const points = SIDE / box.width;
    return { x: (event.clientX - box.left) * points, y: (event.clientY - box.top) * points };
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    bitmap.line(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last === null) return;
    const here = place(event);
    bitmap.line(last, here);
    last = here;
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
}

/** An 8 × 8 grid in which one cell takes part in the order of tabs; arrow keys move it. */
export function showGrid(grid, status, bitmap) {
  const cells = [];
  for (let row = 0; row < 8; row++) {
    const line = grid.appendChild(document.createElement("div"));
    line.setAttribute("role", "row");
    for (let column = 0; column < 8; column++) {
      const cell = line.appendChild(document.createElement("div"));
      cell.setAttribute("role", "gridcell");
      cell.tabIndex = cells.push(cell) === 1 ? 0 : -1;
    }
  }
  const describe = (at, level) => `Row ${Math.floor(at / 8) + 1}, column ${(at % 8) + 1}: ${level} of 16`;
  const paint = () =>
    bitmap.levels.forEach((level, at) => {
      cells[at].style.setProperty("--level", level);
      cells[at].setAttribute("aria-label", describe(at, level));
    });
  paint();
  bitmap.addEventListener("change", paint);

  const moveTo = (at) => {
    cells.forEach((cell, i) => (cell.tabIndex = i === at ? 0 : -1));
    cells[at].focus();
  };
  const change = (at, level) => {
    bitmap.setLevel(at, level);
    status.textContent = describe(at, bitmap.levels[at]);
  };
  grid.addEventListener("keydown", (event) => {
    const at = cells.indexOf(event.target);
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const [row, column] = [Math.floor(at / 8), at % 8];
    const level = bitmap.levels[at];
    const actions = {
      ArrowUp: () => row > 0 && moveTo(at - 8),
      ArrowDown: () => row < 7 && moveTo(at + 8),
      ArrowLeft: () => column > 0 && moveTo(at - 1),
      ArrowRight: () => column < 7 && moveTo(at + 1),
      Home: () => moveTo(row * 8),
      End: () => moveTo(row * 8 + 7),
      " ": () => change(at, level ? 0 : 16),
      "+": () => change(at, level + 2),
      "-": () => change(at, level - 2),
    };
    if (!Object.hasOwn(actions, event.key)) return;
    event.preventDefault();
    actions[event.key]();
  });
  grid.addEventListener("click", (event) => {
    const at = cells.indexOf(event.target);
    if (at < 0) return;
    moveTo(at);
    change(at, bitmap.levels[at] ? 0 : 16);
  });
}
