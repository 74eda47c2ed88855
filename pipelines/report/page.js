"use strict";
document.body.classList.add("scripted");
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const text = button.parentElement.querySelector("pre").textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector("pre"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}
const shots = [...document.querySelectorAll(".shot")];
const places = new Map(shots.map((shot) => [
  shot, new Map((shot.dataset.chosen || "").split(" ").filter(Boolean).map((one) => one.split(":"))),
]));
const choices = [...document.querySelectorAll("[data-choice]")];
const count = document.getElementById("shown");
function choose(choice) {
  for (const button of choices) {
    button.setAttribute("aria-pressed", String(button.dataset.choice === choice));
  }
  let shown = shots.filter((shot) => !choice || places.get(shot).has(choice));
  if (choice) {
    shown.sort((a, b) => places.get(a).get(choice) - places.get(b).get(choice));
  }
  const rest = shots.filter((shot) => !shown.includes(shot));
  const grid = document.getElementById("grid");
  for (const shot of [...shown, ...rest]) {
    shot.hidden = !shown.includes(shot);
    grid.append(shot);
  }
  if (count) {
    count.textContent = `${shown.length} shown`;
  }
}
for (const button of choices) {
  button.addEventListener("click", () => choose(button.dataset.choice));
}
for (const box of document.querySelectorAll("[data-layer]")) {
  const set = () => {
    document.body.classList.toggle(`with-${box.dataset.layer}`, box.checked);
  };
  box.addEventListener("change", set);
  set();
}
const dialog = document.getElementById("large");
for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    const picture = button.querySelector("svg").cloneNode(true);
    dialog.querySelector("div").replaceChildren(picture);
    dialog.setAttribute("aria-label", picture.getAttribute("aria-label"));
    dialog.showModal();
  });
}
dialog?.addEventListener("click", (event) => {
  if (event.target === dialog) {
    dialog.close();
  }
});
if (choices.length) {
  choose(choices[0].dataset.choice);
}
