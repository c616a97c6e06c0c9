// Small comforts of forms; each works without this file too, by its submit button.

// A select with data-submit sends its form when it changes.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form?.requestSubmit();
});

// What has data-when="kind=budget" is shown while the form's field `kind` says so; several values are parted by commas.
// Without this file everything is shown, and each help text says when its field counts.
function showWhatApplies(form) {
  for (const part of form.querySelectorAll("[data-when]")) {
    const [name, values] = part.dataset.when.split("=");
    const field = form.elements[name];
    part.hidden = Boolean(field) && !values.split(",").includes(field.value);
  }
}

for (const part of document.querySelectorAll("[data-when]")) showWhatApplies(part.closest("form"));
document.addEventListener("change", (event) => {
  if (event.target.form) showWhatApplies(event.target.form);
});

// Empty fields of a GET form stay out of the URL.
document.addEventListener("formdata", (event) => {
  if (event.target.method !== "get") return;
  for (const [name, value] of [...event.formData.entries()]) {
    if (value === "") event.formData.delete(name);
  }
});

// A form is sent once: its button rests until the answer comes.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  for (const button of event.target.querySelectorAll('button:not([type="button"])')) {
    setTimeout(() => (button.disabled = true));
  }
});

// "/" goes to the search field of the page.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, textarea")) return;
  const search = document.querySelector("[data-search]");
  if (search) {
    event.preventDefault();
    search.focus();
  }
});

window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
});
