// The image: 32 × 32 black or white points. The digits that the model knows were made like this: the black
// points of each block of 4 × 4 are counted, which gives 8 × 8 levels from 0 to 16.

export const SIDE = 32;
const BLOCK = 4;
const CELLS = SIDE / BLOCK;

export class Bitmap extends EventTarget {
  points = new Uint8Array(SIDE * SIDE);

  /** 64 levels from 0 to 16, row by row. */
  get levels() {
    const levels = new Uint8Array(CELLS * CELLS);
    this.points.forEach((point, i) => {
      levels[Math.floor(i / SIDE / BLOCK) * CELLS + Math.floor((i % SIDE) / BLOCK)] += point;
    });
    return levels;
  }

  /**
   * Sets the image to these levels. Which points of a block are black is not known: those are taken
   * that lie nearest to dark neighbours.
   */
  set levels(levels) {
    for (let cell = 0; cell < levels.length; cell++) this.#fill(cell, levels[cell], levels);
    this.#changed();
  }

  setLevel(cell, level) {
    const levels = this.levels;
    levels[cell] = Math.min(16, Math.max(0, level));
    this.#fill(cell, levels[cell], levels);
    this.#changed();
  }

  clear() {
    this.points.fill(0);
    this.#changed();
  }

  /** Blackens what a round pen covers on its way from one place to another, in points. */
  line(from, to) {
    const reach = 1.7;
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const square = dx * dx + dy * dy || 1;
    for (let i = 0; i < this.points.length; i++) {
      const [x, y] = [(i % SIDE) + 0.5, Math.floor(i / SIDE) + 0.5];
      const along = Math.min(1, Math.max(0, ((x - from.x) * dx + (y - from.y) * dy) / square));
      if (Math.hypot(x - from.x - along * dx, y - from.y - along * dy) <= reach) this.points[i] = 1;
    }
    this.#changed();
  }

  #fill(cell, level, levels) {
    const [row, column] = [Math.floor(cell / CELLS), cell % CELLS];
    const block = Array.from({ length: BLOCK * BLOCK }, (_, i) => {
      const [y, x] = [Math.floor(i / BLOCK), i % BLOCK];
      return { at: (row * BLOCK + y) * SIDE + column * BLOCK + x, darkness: darkness(levels, row, column, y, x) };
    });
    block.sort((a, b) => b.darkness - a.darkness);
    block.forEach(({ at }, i) => (this.points[at] = i < level ? 1 : 0));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** The level at the point (y, x) of a block, between its own and its neighbours' (bilinear). */
function darkness(levels, row, column, y, x) {
  const level = (r, c) => (r < 0 || c < 0 || r >= CELLS || c >= CELLS ? 0 : levels[r * CELLS + c]);
  const [down, right] = [(y + 0.5) / BLOCK - 0.5, (x + 0.5) / BLOCK - 0.5];
  const [r, c] = [row + Math.sign(down), column + Math.sign(right)];
  const [v, h] = [Math.abs(down), Math.abs(right)];
  const above = (1 - h) * level(row, column) + h * level(row, c);
  const below = (1 - h) * level(r, column) + h * level(r, c);
  return (1 - v) * above + v * below;
}
