// Measures a page as it is laid out; returns a sentence for each fault. Run by geometry.py.
() => {
  const faults = [];
  const room = document.documentElement.clientWidth;
  const wide = document.documentElement.scrollWidth;
  if (wide > room) faults.push(`the page is ${wide} px wide, the window ${room}`);

  const dialog = document.querySelector("dialog[open]");
  const root = dialog ?? document.body;
  const short = (text) => JSON.stringify(text.length > 60 ? text.slice(0, 57) + "..." : text);
  const visible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  // A table on a small screen may scroll by itself; nothing else may be wider than its place.
  const scrolls = (element) => /auto|scroll/.test(getComputedStyle(element).overflowX);

  const texts = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.data.trim();
    const parent = node.parentElement;
    if (!text || !visible(parent) || parent.closest("script, style, title")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const boxes = [...range.getClientRects()].filter((box) => box.width && box.height);
    if (!boxes.length) continue;
    if (boxes.length > 1 && /^[+-]?[\d.,]+\s\S{1,3}$/.test(text)) faults.push(`${short(text)} is on two lines`);
    const drawing = parent.closest("svg");
    const scale = drawing ? parent.getScreenCTM().a : 1;
    const size = parseFloat(getComputedStyle(parent).fontSize) * scale;
    if (size < 9) faults.push(`${short(text)} is written ${size.toFixed(1)} px high`);

    for (const box of boxes) {
      let reach = { left: 0, right: room };
      for (let at = parent; at && at !== document.documentElement; at = at.parentElement) {
        const style = getComputedStyle(at);
        if (scrolls(at)) { reach = null; break; }
        if (style.overflowX === "visible" && at !== drawing) continue;
        const edge = at.getBoundingClientRect();
        if (box.left < edge.left - 1 || box.right > edge.right + 1)
          faults.push(`${short(text)} is cut: ${(box.width).toFixed(0)} px in ${edge.width.toFixed(0)}`);
        if (box.top < edge.top - 3 || box.bottom > edge.bottom + 3)
          faults.push(`${short(text)} is cut above or below`);
      }
      if (reach && (box.left < -1 || box.right > room + 1)) faults.push(`${short(text)} is out of the window`);
      // Letters are not as high as their line: two lines may touch.
      const trim = Math.min(box.height * 0.2, 4);
      texts.push({ text, parent, drawing, left: box.left + 0.5, right: box.right - 0.5, top: box.top + trim, bottom: box.bottom - trim });
    }
  }

  // No text lies on another.
  texts.sort((one, other) => one.top - other.top);
  texts.forEach((one, place) => {
    for (let next = place + 1; next < texts.length && texts[next].top < one.bottom; next++) {
      const other = texts[next];
      if (one.parent === other.parent) continue;
      if (one.left < other.right && other.left < one.right && !one.parent.closest(".floats") && !other.parent.closest(".floats"))
        faults.push(`${short(one.text)} lies on ${short(other.text)}`);
    }
  });

  // A column of one word a line is no column.
  for (const element of root.querySelectorAll("*")) {
    if (!visible(element)) continue;
    const style = getComputedStyle(element);
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim().length > 20);
    if (own && !element.closest("svg") && style.display !== "inline" && element.clientWidth > 0 && element.clientWidth < 60)
      faults.push(`${short(element.textContent.trim())} has a column of ${element.clientWidth} px`);
  }

  // Every text stands out from what is behind it.
  const shade = (colour) => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = shade(getComputedStyle(at).backgroundColor);
      if (colour[3]) layers.push(colour);
      if (colour[3] === 255) break;
    }
    return layers.reduceRight((below, [r, g, b, a]) => [r, g, b].map((one, i) => one * a / 255 + below[i] * (1 - a / 255)), [255, 255, 255]);
  };
  const light = ([r, g, b]) => {
    const part = (value) => ((value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const seen = new Set();
  for (const { text, parent, drawing } of texts) {
    const style = getComputedStyle(parent);
    const key = `${parent.tagName}.${parent.getAttribute("class")}.${style.color}.${style.fill}.${parent.parentElement.getAttribute("class")}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const over = light(shade(drawing ? style.fill : style.color)), under = light(behind(parent));
    const contrast = (Math.max(over, under) + 0.05) / (Math.min(over, under) + 0.05);
    if (contrast < 4.5) faults.push(`${short(text)} has a contrast of ${contrast.toFixed(2)}`);
  }
  return [...new Set(faults)];
}
