// Copy buttons: data-copy holds the text, or data-copy-from the selector of the element that shows it.

async function copy(button) {
  const source = button.dataset.copyFrom ? document.querySelector(button.dataset.copyFrom) : null;
  const text = source ? source.textContent : button.dataset.copy;
  const label = button.getAttribute("aria-label") ?? "Copy";
  try {
    await navigator.clipboard.writeText(text);
    say(button, "Copied", "check");
  } catch {
    say(button, "Select the text and copy it with the keyboard", "x");
  }
  setTimeout(() => say(button, label, "copy"), 1600);
}

function say(button, label, icon) {
  button.setAttribute("aria-label", label);
  button.title = label;
  const use = button.querySelector("use");
  if (use) use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${icon}`));
  const words = button.querySelector("[data-copy-words]");
  if (words) words.textContent = label;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (button) copy(button);
});
