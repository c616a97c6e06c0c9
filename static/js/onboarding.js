// Ask every two seconds whether the first call has arrived; show it when it has, and stop.

const PAUSE_MS = 2000;
const card = document.querySelector("[data-status-url]");

async function look() {
  if (document.hidden) return again();
  try {
    const answer = await fetch(card.dataset.statusUrl, { headers: { Accept: "application/json" } });
    if (answer.redirected) return location.reload(); // signed out meanwhile
    const status = await answer.json();
    if (status.arrived) show(status.call);
    // A call that failed is shown, but the one that succeeds is what is waited for.
    if (!status.arrived || !status.call.is_ok) again();
  } catch {
    again();
  }
}

function again() {
  setTimeout(look, PAUSE_MS);
}

function show(call) {
  card.classList.toggle("arrival--ok", call.is_ok);
  card.classList.toggle("arrival--failed", !call.is_ok);
  const use = card.querySelector("use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, call.is_ok ? "#check" : "#triangle-alert"));
  const title = call.is_ok ? "The first call is here" : "A call arrived, but it failed";
  const summary = call.summary + (call.is_simulated ? " (simulated)" : "");
  card.querySelector(".arrival__title").textContent = title;
  card.querySelector(".arrival__summary").textContent = summary;
  const link = card.querySelector(".arrival__link");
  link.href = call.url;
  link.hidden = false;
}

if (card) again();
