/**
 * The script of the pages that accept an invitation and reset a password. The token stands behind the #
 * of the URL, is taken out of it at once, and goes to the hub with what the person typed.
 */
const token = new URLSearchParams(location.hash.slice(1)).get("token");
history.replaceState(null, "", location.pathname);

const form = document.querySelector("form");
const said = document.querySelector("[role=status]");
const button = form.querySelector("button");

function say(text) {
  said.textContent = text;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  say("One moment …");
  const typed = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
  try {
    const answer = await fetch(form.dataset.endpoint, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token, ...typed }),
    });
    if (answer.ok) {
      form.remove();
      return say(form.dataset.done);
    }
    const { error } = await answer.json();
    say(error.message);
  } catch {
    say("The hub does not respond: try again in a moment.");
  }
  button.disabled = false;
});

if (token === null) {
  form.remove();
  say("This link is not complete: open the link as it was sent to you.");
}
