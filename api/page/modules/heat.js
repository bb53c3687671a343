// The heat map over an image, as pictures/heat.py draws it: where the evidence for the model's label lies.

// From violet through red to pale yellow, ever lighter: the order can be read without seeing colours, too.
const STOPS = [
  [0.0, [48, 18, 90]],
  [0.3, [126, 32, 122]],
  [0.55, [205, 58, 88]],
  [0.78, [248, 138, 62]],
  [1.0, [253, 231, 132]],
];
const OPACITY = 0.84;

const PALETTE = Array.from({ length: 256 }, (_, step) => {
  const level = step / 255;
  const above = Math.max(1, STOPS.findIndex(([position]) => position >= level));
  const [from, low] = STOPS[above - 1];
  const [to, high] = STOPS[above];
  const part = (level - from) / (to - from);
  return low.map((channel, k) => channel + (high[k] - channel) * part);
});

const OPACITIES = Float32Array.from({ length: 256 }, (_, step) => OPACITY * (step / 255) ** 0.8);

/** Draws `picture` (a square) in grey under `heatmap` (rows, columns, values 0..100) onto `canvas`, `side` pixels. */
export function drawHeat(canvas, picture, heatmap, side) {
  canvas.width = side;
  canvas.height = side;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0, side, side);
  const pixels = context.getImageData(0, 0, side, side);
  const levels = spread(heatmap, side);
  const { data } = pixels;
  for (let at = 0; at < levels.length; at += 1) {
    const k = at * 4;
    const grey = data[k] * 0.299 + data[k + 1] * 0.587 + data[k + 2] * 0.114;
    const step = Math.round(255 * Math.max(0, Math.min(1, levels[at])));
    const colour = PALETTE[step];
    const opacity = OPACITIES[step];
    const under = (46 + grey * 0.72) * (1 - opacity);
    const light = opacity * (0.8 + (0.28 * grey) / 255);
    data[k] = under + colour[0] * light;
    data[k + 1] = under + colour[1] * light;
    data[k + 2] = under + colour[2] * light;
  }
  context.putImageData(pixels, 0, 0);
}

/** The grid, spread smoothly over `side` x `side` pixels: rows first, then columns. */
function spread({ rows, columns, values }, side) {
  const across = weights(columns, side);
  const down = weights(rows, side);
  const wide = new Float32Array(rows * side);
  for (let row = 0; row < rows; row += 1) {
    for (let x = 0; x < side; x += 1) {
      for (const [column, weight] of across[x]) wide[row * side + x] += (weight * values[row * columns + column]) / 100;
    }
  }
  const levels = new Float32Array(side * side);
  for (let y = 0; y < side; y += 1) {
    for (const [row, weight] of down[y]) {
      for (let x = 0; x < side; x += 1) levels[y * side + x] += weight * wide[row * side + x];
    }
  }
  return levels;
}

/** For each of `side` pixels, which of `cells` count how much: Pillow's bicubic filter (a = -0.5). */
function weights(cells, side) {
  return Array.from({ length: side }, (_, pixel) => {
    const centre = ((pixel + 0.5) * cells) / side - 0.5;
    const first = Math.floor(centre) - 1;
    const near = [0, 1, 2, 3].map((k) => first + k).filter((cell) => cell >= 0 && cell < cells);
    const found = near.map((cell) => [cell, bicubic(Math.abs(centre - cell))]);
    const sum = found.reduce((total, [, weight]) => total + weight, 0);
    return found.map(([cell, weight]) => [cell, weight / sum]);
  });
}

function bicubic(x) {
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}
