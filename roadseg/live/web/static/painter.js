// Draws a picture with its labels' colours into a 2D canvas: by WebGL, or by hand without it.
//
// One WebGL context serves all cameras (browsers allow few); tiles copy what it has drawn.

const VERTEX = `
attribute vec2 corner;
varying vec2 at;
void main() { at = vec2(corner.x, 1.0 - corner.y); gl_Position = vec4(corner * 2.0 - 1.0, 0, 1); }`;

// Colours are blended between the four nearest labels, so that outlines are smooth; they are
// premultiplied, and classes that are off have none.
const FRAGMENT = `
precision highp float;
varying vec2 at;
uniform sampler2D picture, labels, colours;
uniform vec2 labelSize;
uniform float mask;
vec4 colourAt(vec2 cell) {
  vec2 inside = clamp(cell, vec2(0.0), labelSize - 1.0);
  float id = texture2D(labels, (inside + 0.5) / labelSize).r * 255.0;
  return texture2D(colours, vec2((floor(id + 0.5) + 0.5) / 256.0, 0.5));
}
void main() {
  vec2 place = at * labelSize - 0.5;
  vec2 cell = floor(place);
  vec2 part = place - cell;
  vec4 colour = mix(mix(colourAt(cell), colourAt(cell + vec2(1, 0)), part.x),
                    mix(colourAt(cell + vec2(0, 1)), colourAt(cell + vec2(1, 1)), part.x), part.y);
  if (mask > 0.5) colour = colourAt(floor(at * labelSize));
  vec3 frame = mask > 0.5 ? vec3(0.06) : texture2D(picture, at).rgb;
  gl_FragColor = vec4(frame * (1.0 - colour.a) + colour.rgb, 1.0);
}`;

/** 256 RGBA colours by class id: premultiplied, alpha 0 for classes that are off. */
function table(look, opacity) {
  const colours = new Uint8Array(256 * 4);
  look.colours.forEach((rgb, id) => {
    const share = look.hidden.has(id) ? 0 : opacity;
    for (let i = 0; i < 3; i++) colours[4 * id + i] = Math.round(rgb[i] * share);
    colours[4 * id + 3] = Math.round(255 * share);
  });
  return colours;
}

class WebGlPainter {
  kind = "WebGL";
  #gl;
  #canvas = document.createElement("canvas");
  #textures = {};
  #uniforms = {};
  #broken = false;

  constructor() {
    const gl = this.#canvas.getContext("webgl", { alpha: false, antialias: false, depth: false });
    if (!gl) throw new Error("no WebGL");
    this.#gl = gl;
    this.#canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.#broken = true;
    });
    this.#canvas.addEventListener("webglcontextrestored", () => {
      this.#prepare();
      this.#broken = false;
    });
    this.#prepare();
  }

  colour(frame, look, opacity, mask, width, height) {
    if (this.#broken) return null;
    const gl = this.#gl;
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    gl.viewport(0, 0, width, height);
    this.#bind("picture", 0);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, frame.picture);
    this.#bind("labels", 1);
    const { labelWidth: w, labelHeight: h } = frame;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.LUMINANCE, w, h, 0, gl.LUMINANCE, gl.UNSIGNED_BYTE, frame.labels);
    this.#bind("colours", 2);
    const colours = table(look, opacity);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, colours);
    gl.uniform2f(this.#uniforms.labelSize, w, h);
    gl.uniform1f(this.#uniforms.mask, mask ? 1 : 0);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    return this.#canvas;
  }

  #bind(name, unit) {
    this.#gl.activeTexture(this.#gl.TEXTURE0 + unit);
    this.#gl.bindTexture(this.#gl.TEXTURE_2D, this.#textures[name]);
  }

  #prepare() {
    const gl = this.#gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error("no shader");
    gl.useProgram(program);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(program, "corner");
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    ["picture", "labels", "colours"].forEach((name, unit) => {
      this.#textures[name] = gl.createTexture();
      this.#bind(name, unit);
      const filter = name === "picture" ? gl.LINEAR : gl.NEAREST;
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
      gl.uniform1i(gl.getUniformLocation(program, name), unit);
    });
    for (const name of ["labelSize", "mask"]) {
      this.#uniforms[name] = gl.getUniformLocation(program, name);
    }
  }
}

class CanvasPainter {
  kind = "2D";
  #small = document.createElement("canvas");
  #out = document.createElement("canvas");

  colour(frame, look, opacity, mask, width, height) {
    const { labelWidth: w, labelHeight: h } = frame;
    this.#small.width = w;
    this.#small.height = h;
    const pixels = new ImageData(w, h);
    const words = new Uint32Array(pixels.data.buffer);
    const colours = new Uint32Array(256);
    const bytes = new Uint8Array(colours.buffer);
    look.colours.forEach((rgb, id) => {
      bytes.set([...rgb, look.hidden.has(id) ? 0 : Math.round(255 * opacity)], 4 * id);
    });
    frame.labels.forEach((id, i) => { words[i] = colours[id]; });
    this.#small.getContext("2d").putImageData(pixels, 0, 0);
    this.#out.width = width;
    this.#out.height = height;
    const to = this.#out.getContext("2d");
    if (mask) {
      to.fillStyle = "#0f0f0f";
      to.fillRect(0, 0, width, height);
    } else {
      to.drawImage(frame.picture, 0, 0, width, height);
    }
    to.imageSmoothingEnabled = !mask;
    to.drawImage(this.#small, 0, 0, width, height);
    return this.#out;
  }
}

let painter = null;
try {
  painter = new WebGlPainter();
} catch {
  painter = new CanvasPainter();
}

/** How this browser draws: "WebGL" or "2D". */
export const painterKind = painter.kind;

/**
 * Draw a frame as a viewer likes it.
 *
 * look: {view, opacity 0..1, colours: [[r, g, b]], hidden: Set of ids}.
 * stacked: put the two pictures of "both" above each other.
 */
export function paint(canvas, frame, look, stacked) {
  const { width, height } = frame.picture;
  const both = look.view === "both";
  const full = [width * (both && !stacked ? 2 : 1), height * (both && stacked ? 2 : 1)];
  if (canvas.width !== full[0] || canvas.height !== full[1]) [canvas.width, canvas.height] = full;
  const to = canvas.getContext("2d", { alpha: false });
  if (look.view === "camera" || both) to.drawImage(frame.picture, 0, 0);
  if (look.view === "camera") return;
  const mask = look.view === "mask";
  const coloured = painter.colour(frame, look, mask ? 1 : look.opacity, mask, width, height);
  if (coloured) to.drawImage(coloured, both && !stacked ? width : 0, both && stacked ? height : 0);
}
