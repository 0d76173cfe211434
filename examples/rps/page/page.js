import {connect} from "./socket.js";

const $ = id => document.getElementById(id);
const moves = {schere: ["✌️", "Schere"], stein: ["✊", "Stein"], papier: ["✋", "Papier"]};
const beats = {schere: "schneidet", stein: "schlägt", papier: "umwickelt"};
const shownMost = 100; // entries of the log

let me = 0;              // our ID on this connection
let chosen = "";         // our own open move
let focused = "";        // the move that had the focus when none could be made any more
let players = new Map(); // ID → {score, open}

function element(kind, className, text) {
	const e = document.createElement(kind);
	e.className = className;
	e.textContent = text;
	return e;
}

const called = id => id === me ? "Du" : `Spieler ${id}`;

// log tells the newest first.
function log(text) {
	$("log").prepend(element("li", "", text));
	if ($("log").childElementCount > shownMost) $("log").lastElementChild.remove();
}

function showResult(kind, text) {
	$("result").dataset.result = kind;
	$("result").textContent = text;
}

function showPlayers() {
	const best = [...players].sort(([a, p], [b, q]) => q.score - p.score || a - b);
	$("players").replaceChildren(...best.map(([id, {score, open}]) => {
		const li = element("li", id === me ? "me" : "", called(id));
		if (open) li.append(element("span", "waits", "hat gezogen"));
		const points = element("span", "score", score);
		points.ariaLabel = `${score} ${score === 1 ? "Punkt" : "Punkte"}`;
		li.append(points);
		return li;
	}));
}

// showRound shows two moves; "" is one that nobody has made, "?" one that is a secret.
function showRound(mine, theirs, winner) {
	for (const [id, move, won] of [["mine", mine, winner === "mine"], ["theirs", theirs, winner === "theirs"]]) {
		$(id).textContent = moves[move]?.[0] ?? (move ? "❗" : "❔");
		$(id).className = won ? "won" : "";
	}
}

// allow enables the moves that can be made now, and marks the one that was. The focus that a move loses while it can't be
// made comes back.
function allow(open) {
	if (document.activeElement.id in moves) focused = document.activeElement.id;
	for (const id in moves) {
		$(id).disabled = !open || chosen !== "";
		$(id).className = id === chosen ? "chosen" : "";
		$(id).ariaPressed = id === chosen;
	}
	if (!focused || $(focused).disabled) return;
	if (document.activeElement === document.body) $(focused).focus({preventScroll: true});
	focused = "";
}

// invite says what there is to do.
function invite() {
	const waiting = [...players].find(([id, p]) => p.open && id !== me);
	if (chosen) showResult("open", players.size > 1 ? "Wer hält dagegen?" : "Wer hält dagegen? Öffne die Seite noch einmal.");
	else showResult("", waiting ? `${called(waiting[0])} hat gezogen. Halte dagegen!` : "Dein Zug!");
}

function describe(first, second, winner) {
	if (!winner) return `${called(first.id)} und ${second.id === me ? "du" : called(second.id)}: unentschieden mit ${moves[first.move][1]}`;
	const [w, l] = winner === first.id ? [first, second] : [second, first];
	return `${called(w.id)} ${w.id === me ? "gewinnst" : "gewinnt"} gegen ${l.id === me ? "dich" : called(l.id)}: ` +
		`${moves[w.move][1]} ${beats[w.move]} ${moves[l.move][1]}`;
}

const receive = {
	welcome(m) {
		me = m.id;
		chosen = "";
		players = new Map(m.players.map(p => [p.id, p]));
		$("me").value = `Du bist Spieler ${me}`;
		$("log").replaceChildren();
		showPlayers();
		showRound("", [...players.values()].some(p => p.open) ? "?" : "");
		allow(true);
		invite();
	},
	login({id}) {
		players.set(id, {score: 0, open: false});
		showPlayers();
		log(id === me ? "Du bist da" : `${called(id)} ist da`);
		if (chosen) invite();
	},
	logout({id}) {
		const open = players.get(id)?.open;
		players.delete(id);
		showPlayers();
		log(`${called(id)} ist gegangen`);
		if (open) showRound(chosen, "");
		if (open || chosen) invite();
	},
	turn({id}) {
		players.get(id).open = true;
		if (id !== me) showRound(chosen, "?");
		showPlayers();
		invite();
	},
	score({winner, players: [first, second]}) {
		for (const {id, score} of [first, second]) players.set(id, {score, open: false});
		showPlayers();
		log(describe(first, second, winner));
		const mine = [first, second].find(p => p.id === me), theirs = mine === first ? second : first;
		if (!mine) {
			showRound(chosen, "");
			return invite();
		}
		chosen = "";
		allow(true);
		showRound(mine.move, theirs.move, winner === me ? "mine" : winner ? "theirs" : "");
		const [kind, text] = !winner ? ["draw", "Unentschieden"] : winner === me ? ["won", "Gewonnen!"] : ["lost", "Verloren"];
		showResult(kind, `${text} ${text.endsWith("!") ? "" : "– "}${moves[mine.move][1]} gegen ${moves[theirs.move][1]}`);
	},
	error(m) {
		if (chosen && !players.get(me).open) {
			chosen = "";
			showRound("", [...players.values()].some(p => p.open) ? "?" : "");
		}
		allow(true);
		invite();
		complain(m.message);
	},
};

function complain(text) {
	$("error").textContent = text;
	$("error").hidden = !text;
}

const socket = connect("ws", {
	words: {connecting: "verbinden", open: "verbunden", closed: seconds => `getrennt, wieder in ${seconds} s`},
	message: m => receive[m.type]?.(m), // what a newer server may send is no harm
	closed: () => allow(false),
});

for (const id in moves) {
	$(id).onclick = () => {
		complain("");
		if (!socket.send({type: "move", move: id})) return;
		chosen = id;
		showRound(id, [...players].some(([id, p]) => p.open && id !== me) ? "?" : "");
		allow(true);
	};
}
