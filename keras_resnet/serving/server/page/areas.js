// What was found in a picture: boxes, or a class for each pixel, drawn over it in a colour for each class.

// Twelve colours that are told apart on photos, also by most colour-blind readers (Paul Tol's "muted", and black).
const COLOURS = [
  "#cc6677", "#332288", "#ddcc77", "#117733", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499", "#dddddd",
  "#e4632d", "#000000",
];
export const colour = (index) => COLOURS[index % COLOURS.length];

// boxes: [[left, top, right, bottom]] in the picture's pixels; names: of their classes; known: all names, for colours.
export function drawBoxes(context, scale, boxes, names, scores, known, percent) {
  context.lineWidth = 3;
  context.font = "600 13px system-ui, sans-serif";
  context.textBaseline = "bottom";
  boxes.forEach(([left, top, right, bottom], i) => {
    const shade = colour(known.indexOf(names[i])), words = `${names[i]} ${percent(scores[i])}`;
    context.strokeStyle = shade;
    context.strokeRect(left * scale, top * scale, (right - left) * scale, (bottom - top) * scale);
    const high = Math.max(top * scale, 17), wide = context.measureText(words).width + 8;
    context.fillStyle = shade;
    context.fillRect(left * scale - 1.5, high - 17, wide, 17);
    context.fillStyle = light(shade) ? "#000" : "#fff";
    context.fillText(words, left * scale + 2.5, high - 1);
  });
}

// numbers: an image whose grey is a class's number; a canvas of its size in the classes' colours.
export function painted(numbers) {
  const canvas = new OffscreenCanvas(numbers.width, numbers.height);
  const context = canvas.getContext("2d");
  context.drawImage(numbers, 0, 0);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  const shades = Array.from({ length: 256 }, (_, i) => parts(colour(i)));
  for (let at = 0; at < image.data.length; at += 4) image.data.set([...shades[image.data[at]], 255], at);
  context.putImageData(image, 0, 0);
  return canvas;
}

const parts = (shade) => [1, 3, 5].map((at) => parseInt(shade.slice(at, at + 2), 16));

function light(shade) {
  const [red, green, blue] = parts(shade);
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140;
}
