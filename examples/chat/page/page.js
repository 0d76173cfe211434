import {connect} from "./socket.js";

const $ = id => document.getElementById(id);
const shownMost = 500;    // entries of the log
const typingPause = 2000; // ms between two of our typing messages
const typingShown = 4000; // ms that another is shown as typing after one of his
const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit"});
const number = new Intl.NumberFormat("en");

let me = 0;             // our ID on this connection
let joined = false;
let called = "";        // what others call us, since we last joined
let name = sessionStorage.getItem("name") ?? ""; // what we call ourselves; "": not known yet
let people = new Map(); // ID → name
let typing = new Map(); // ID → timer
let lastID = 0;         // who spoke last, 0 after news
let unsaid = [];        // what we have sent and not seen yet, the oldest first
let seen;               // the last that we have sent and seen; undefined: nothing
let lastTyping = -Infinity;

const plural = (n, one, many) => `${number.format(n)} ${n === 1 ? one : many}`;
const hue = id => `hsl(${id * 137.5 % 360} 60% 50%)`;

// element makes an element. Text is set as text: nothing that anybody writes is ever read as HTML.
function element(kind, className, text) {
	const e = document.createElement(kind);
	e.className = className;
	if (text !== undefined) e.textContent = text;
	return e;
}

function entry(className, ...children) {
	const li = element("li", className);
	li.append(...children);
	$("log").append(li);
	if ($("log").childElementCount > shownMost) $("log").firstElementChild.remove();
	return li;
}

function news(text) {
	entry("news", text);
	lastID = 0;
}

function showChat({id, name, text, time}) {
	const first = id !== lastID, own = id === me;
	const li = entry([own && "own", first && "first"].filter(Boolean).join(" "));
	if (first) {
		const who = element("div", "who", name);
		who.style.color = `color-mix(in oklab, ${hue(id)}, var(--ink) 45%)`;
		li.append(who);
	}
	const body = element("div", "body"), said = element("span", "text", text), when = element("time", "", clock.format(time));
	said.dir = "auto";
	when.dateTime = new Date(time).toISOString();
	body.append(said, when);
	li.append(body);
	lastID = id;
	if (own) $("view").scrollTop = 0; // the end
}

function showApplause({id, name, strength, total}) {
	const hands = element("span", "hands", "👏".repeat(strength));
	entry("applause", element("span", "who", id === me ? "You" : name), " ", hands);
	showClaps(total);
	lastID = 0;
}

function showClaps(total) {
	$("claps").value = total ? `${number.format(total)} 👏` : "";
}

function showPeople(present) {
	$("present").value = plural(present, "person", "people");
	$("people").replaceChildren(...Array.from(people, ([id, name]) => {
		const li = element("li", id === me ? "me" : "", id === me ? `${name} (you)` : name);
		li.style.setProperty("--hue", hue(id));
		return li;
	}));
}

function showTyping() {
	const names = Array.from(typing.keys(), id => people.get(id));
	$("typing").value = names.length === 0 ? "" : names.length === 1 ? `${names[0]} is typing …` :
		names.length === 2 ? `${names[0]} and ${names[1]} are typing …` : `${names.length} people are typing …`;
}

function stopsTyping(id) {
	clearTimeout(typing.get(id));
	if (typing.delete(id)) showTyping();
}

// allow enables what can be used now.
function allow() {
	for (const id of ["text", "send", "strength", "applaud"]) $(id).disabled = !joined;
}

// knock joins if there is a name, else asks for one.
function knock() {
	$("enter").disabled = name !== ""; // one answer for one question, however often somebody clicks
	if (name) socket.send({type: "join", name});
	else if (!$("door").open) $("door").showModal();
}

function complain(place, text) {
	$(place).textContent = text;
	$(place).hidden = !text;
}

const receive = {
	welcome(m) {
		// What was sent when the connection broke, and is not there, is not lost. The same may be there from before.
		const ours = m.history.filter(h => h.id === me && h.name === called);
		const arrived = ours.slice(ours.findLastIndex(h => h.text === seen?.text && h.time === seen.time) + 1).map(h => h.text);
		const lost = unsaid.filter(text => {
			const i = arrived.indexOf(text.trim());
			if (i >= 0) arrived.splice(0, i + 1);
			return i < 0;
		});
		$("text").value = [...lost, $("text").value].filter(Boolean).join("\n");
		unsaid = [];
		seen = undefined;
		me = m.id;
		joined = false;
		people = new Map(m.people.map(p => [p.id, p.name]));
		$("log").replaceChildren();
		lastID = 0;
		m.history.forEach(showChat);
		showClaps(m.applause);
		showPeople(m.present);
		$("name").maxLength = m.limits.name;
		$("text").maxLength = m.limits.text;
		$("strength").max = m.limits.strength;
		knock();
	},
	join(m) {
		people.set(m.id, m.name);
		showPeople(m.present);
		if (m.id !== me) return news(`${m.name} has joined`);
		news(m.name === name ? "You have joined" : `You have joined as ${m.name}`);
		joined = true;
		called = m.name;
		sessionStorage.setItem("name", name);
		complain("refused", "");
		$("door").close();
		allow();
		$("text").focus();
	},
	leave(m) {
		stopsTyping(m.id);
		people.delete(m.id);
		showPeople(m.present);
		news(`${m.name} has left`);
	},
	chat(m) {
		stopsTyping(m.id);
		showChat(m);
		if (m.id !== me) return;
		unsaid.shift();
		seen = m;
	},
	applause: showApplause,
	typing({id}) {
		if (id === me) return;
		clearTimeout(typing.get(id));
		typing.set(id, setTimeout(stopsTyping, typingShown, id));
		showTyping();
	},
	error(m) {
		if (m.about === "join") {
			name = "";
			knock();
			complain("refused", m.message);
			return $("name").focus();
		}
		if (m.about === "typing") return;
		complain("error", m.message);
		if (m.about !== "chat") return;
		$("text").value = [$("text").value, unsaid.shift()].filter(Boolean).join("\n"); // what was refused is not lost
	},
};

const socket = connect("ws", {
	words: {connecting: "connecting", open: "online", closed: seconds => `offline, again in ${seconds} s`},
	message: m => receive[m.type]?.(m), // what a newer server may send is no harm
	closed() {
		joined = false;
		$("enter").disabled = true;
		for (const id of [...typing.keys()]) stopsTyping(id);
		allow();
	},
});

$("join").onsubmit = event => {
	event.preventDefault();
	name = $("name").value.trim();
	if (!name) return complain("refused", "Please give a name.");
	knock();
};
// Nobody gets in without a name.
$("door").oncancel = event => event.preventDefault();

$("write").onsubmit = event => {
	event.preventDefault();
	const text = $("text").value;
	if (!text.trim() || !socket.send({type: "chat", text})) return;
	unsaid.push(text);
	lastTyping = -Infinity;
	complain("error", "");
	$("text").value = "";
	$("text").focus();
};
$("text").oninput = () => {
	if (!$("text").value || performance.now() - lastTyping < typingPause) return;
	lastTyping = performance.now();
	socket.send({type: "typing"});
};
$("text").onkeydown = event => {
	if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
	event.preventDefault();
	$("write").requestSubmit();
};
$("clap").onsubmit = event => {
	event.preventDefault();
	socket.send({type: "applause", strength: Number($("strength").value)});
	complain("error", "");
};
$("strength").oninput = () => { $("applaud").textContent = "👏".repeat(Number($("strength").value)); };
