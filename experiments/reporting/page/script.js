"use strict";

// Tables: a click or a key on a heading sorts by its column, again the other way round. Nothing always comes last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const order = heading.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort((a, b) => compare(a.cells[column], b.cells[column], order)));
      document.getElementById("status").textContent = `Sorted by ${heading.textContent}, ${order}.`;
    });
  });
}

function compare(a, b, order) {
  const [x, y] = [a.dataset.value, b.dataset.value];
  if (x === "" || y === "") return (x === "") - (y === "");
  const numbers = !isNaN(x) && !isNaN(y);
  const difference = numbers ? x - y : x.localeCompare(y);
  return order === "ascending" ? difference : -difference;
}

// Microscope: the slider shows the pictures after so many tasks.
for (const microscope of document.querySelectorAll(".microscope")) {
  const slider = microscope.querySelector("input");
  slider.addEventListener("input", () => {
    microscope.querySelector("output").textContent = slider.value;
    for (const figure of microscope.querySelectorAll("figure")) {
      const images = [...figure.querySelectorAll("img")];
      images.forEach((image, task) => { image.hidden = task !== Number(slider.value); });
      figure.querySelector("a.shown").href = images[slider.value].src;
    }
  });
}

// Print: paper cannot be unfolded.
const folded = [];
window.addEventListener("beforeprint", () => {
  folded.push(...document.querySelectorAll("details:not([open])"));
  folded.forEach((details) => { details.open = true; });
});
window.addEventListener("afterprint", () => {
  folded.splice(0).forEach((details) => { details.open = false; });
});

// Figures as PNG: drawn from the SVG at four times its size, in light colours.
for (const button of document.querySelectorAll("button.png")) {
  button.addEventListener("click", () => {
    const svg = button.closest("figure").querySelector("svg");
    const { width, height } = svg.viewBox.baseVal;
    const text = new XMLSerializer().serializeToString(svg)
      .replace("<svg ", `<svg width="${4 * width}" height="${4 * height}" fill="#000000" color="#000000" `)
      .replaceAll("var(--paper)", "#ffffff").replaceAll("var(--grid)", "#d3d3d3");
    const image = new Image();
    image.addEventListener("load", () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [4 * width, 4 * height];
      const context = canvas.getContext("2d");
      context.fillStyle = "#ffffff";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, 0, 0);
      const link = document.createElement("a");
      link.download = button.dataset.name;
      link.href = canvas.toDataURL("image/png");
      link.click();
    });
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
  });
}
