// A heat map as a picture.

// The heat, enlarged bilinearly, from dark blue (none) to dark red (the picture's most).
export function coloured(heat, width, height) {
  const image = new ImageData(width, height), rows = heat.length, columns = heat[0].length;
  const most = Math.max(1e-12, ...heat.flat());
  const near = (i, size, count) => {
    const at = Math.min(count - 1, Math.max(0, ((i + 0.5) * count) / size - 0.5)), first = Math.floor(at);
    return [first, Math.min(count - 1, first + 1), at - first];
  };
  const ramp = (value, centre) => 255 * Math.min(1, Math.max(0, 1.5 - Math.abs(4 * value - centre)));
  for (let y = 0; y < height; y++) {
    const [up, down, v] = near(y, height, rows);
    for (let x = 0; x < width; x++) {
      const [left, right, u] = near(x, width, columns);
      const above = heat[up][left] * (1 - u) + heat[up][right] * u;
      const below = heat[down][left] * (1 - u) + heat[down][right] * u;
      const value = (above * (1 - v) + below * v) / most;
      image.data.set([ramp(value, 3), ramp(value, 2), ramp(value, 1), 255], 4 * (y * width + x));
    }
  }
  return image;
}
