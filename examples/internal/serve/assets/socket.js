// A WebSocket that comes back: when it ends, another is opened, after pauses that grow.

const longestPause = 30_000, firstPause = 500, stable = 5_000; // ms; a connection that lasted that long was no failed attempt

/*
	connect opens a WebSocket at path on the server that the page came from. It shows its state in #state, and #again, a
	button, opens it at once where it would wait.

	on.open()        a connection is open
	on.message(m)    the server has sent the object m, from its welcome on: what comes before is in that already
	on.closed()      the connection is over
	on.words         {connecting, open, closed(seconds)}: what #state shows

	It returns {send(object)}, which reports whether there was a connection to send on.
*/
export function connect(path, on) {
	const url = new URL(path, location.href.replace(/^http/, "ws"));
	const state = document.querySelector("#state"), again = document.querySelector("#again");
	let socket, failures = 0, timer, opened;

	function show(name, text) {
		state.ariaLive = name === "closed" && state.dataset.state === name ? "off" : "polite"; // the seconds are not read out
		state.dataset.state = name;
		if (state.value !== text) state.value = text;
		again.hidden = name !== "closed";
	}

	function open() {
		clearInterval(timer);
		show("connecting", on.words.connecting);
		opened = Infinity;
		const mine = socket = new WebSocket(url);
		mine.onopen = () => {
			opened = performance.now();
			show("open", on.words.open);
			on.open?.();
		};
		let welcome = false;
		mine.onmessage = event => {
			const m = JSON.parse(event.data);
			if (welcome ||= m.type === "welcome") on.message(m);
		};
		mine.onclose = () => {
			if (performance.now() - opened > stable) failures = 0;
			on.closed?.();
			wait(Math.min(firstPause * 2 ** failures++, longestPause) * (.75 + Math.random() / 2));
		};
	}

	// wait opens another connection after ms. Not all who lost theirs come back at the same time.
	function wait(ms) {
		const end = performance.now() + ms;
		const tick = () => {
			const left = end - performance.now();
			if (left <= 0) open();
			else show("closed", on.words.closed(Math.ceil(left / 1000)));
		};
		tick();
		timer = setInterval(tick, 200);
	}

	const now = () => { if (socket.readyState === WebSocket.CLOSED) open(); };
	again.onclick = now;
	addEventListener("online", now);
	open();

	return {
		send(object) {
			if (socket.readyState !== WebSocket.OPEN) return false;
			socket.send(JSON.stringify(object));
			return true;
		},
	};
}
