const $ = id => document.getElementById(id);
const greeting = new URL("ws", location.href.replace(/^http/, "ws"));
const upload = new URL("?upload", greeting);
const subprotocols = ["soap", "wamp"];
const number = new Intl.NumberFormat("de");
const seconds = new Intl.NumberFormat("de", {minimumFractionDigits: 3, maximumFractionDigits: 3});

function element(kind, className, text) {
	const e = document.createElement(kind);
	e.className = className;
	e.textContent = text;
	return e;
}

// log adds a line to the table: what happened to a connection that began at began, with details by name.
function log(began, event, details) {
	const row = $("log").insertRow(), list = element("dl", "", "");
	row.append(element("td", "", `${seconds.format((performance.now() - began) / 1000)} s`));
	const kind = element("td", "", "");
	kind.append(element("span", `event ${event}`, event));
	for (const [name, value] of Object.entries(details)) {
		const pair = element("div", "", "");
		pair.append(element("dt", "", name), element("dd", "", typeof value === "string" ? `„${value}“` : String(value)));
		list.append(pair);
	}
	const last = element("td", "", "");
	last.append(list);
	row.append(kind, last);
	row.scrollIntoView({block: "nearest"});
}

// connect opens a WebSocket and logs all of its events.
function connect(url, begin, end) {
	const began = performance.now(), socket = new WebSocket(url, subprotocols);
	socket.onopen = () => {
		log(began, "open", {protocol: socket.protocol, extensions: socket.extensions});
		const sent = begin(socket);
		if (sent) log(began, "send", sent);
	};
	socket.onmessage = event => log(began, "message", {data: event.data});
	socket.onerror = () => log(began, "error", {readyState: socket.readyState});
	socket.onclose = ({code, reason, wasClean}) => {
		log(began, "close", {code, reason, wasClean});
		end();
	};
	return socket;
}

$("greet").onsubmit = event => {
	event.preventDefault();
	$("log").replaceChildren();
	const name = $("name").value;
	$("go").disabled = true;
	const socket = connect(greeting, socket => {
		socket.send(name);
		$("close").disabled = false;
		return {data: name};
	}, () => {
		$("go").disabled = false;
		if (document.activeElement === document.body) $("go").focus({preventScroll: true}); // as before
		$("close").disabled = true;
	});
	$("close").onclick = () => socket.close(1000, "Ich mag nicht mehr.");
};

$("nowhere").onclick = () => {
	$("log").replaceChildren();
	connect(new URL("nowhere", greeting), () => {}, () => {});
};

// An upload: one message as long as data, while the plot shows how much of it waits.
function send(data, length) {
	$("log").replaceChildren();
	$("whole").textContent = number.format(length);
	$("amount").hidden = $("plot").hidden = false;
	const points = [];
	let timer;
	for (const id of ["file", "random"]) $(id).disabled = true;
	const look = () => {
		points.push([performance.now(), socket.bufferedAmount]);
		$("buffered").value = number.format(socket.bufferedAmount);
		draw(points, length);
	};
	const socket = connect(upload, socket => {
		socket.send(data);
		$("abort").disabled = false;
		look();
		timer = setInterval(look, 50);
		return {octets: length, bufferedAmount: socket.bufferedAmount};
	}, () => {
		clearInterval(timer);
		for (const id of ["file", "random"]) $(id).disabled = false;
		$("abort").disabled = true;
	});
	$("abort").onclick = () => socket.close(4000, "Genug");
}

// draw draws how much waited, from the first point to the last, as high as length.
function draw(points, length) {
	const canvas = $("plot"), scale = devicePixelRatio, style = getComputedStyle(document.body);
	const width = canvas.width = canvas.clientWidth * scale, height = canvas.height = canvas.clientHeight * scale;
	const context = canvas.getContext("2d"), color = name => context.fillStyle = context.strokeStyle = resolve(style, name);
	const from = points[0][0], span = Math.max(1000, points.at(-1)[0] - from), label = 16 * scale;
	const x = at => (at - from) / span * width, y = n => label + (1 - n / length) * (height - 2 * label);
	color("--line");
	context.lineWidth = scale;
	for (const n of [0, length / 2, length]) context.strokeRect(0, y(n), width, 0);
	color("--accent");
	context.lineWidth = 2 * scale;
	context.lineJoin = "round";
	context.beginPath();
	for (const [at, n] of points) context.lineTo(x(at), y(n));
	context.stroke();
	context.lineTo(x(points.at(-1)[0]), y(0));
	context.lineTo(0, y(0));
	context.globalAlpha = .12;
	context.fill();
	context.globalAlpha = 1;
	color("--faint");
	context.font = `${12 * scale}px system-ui, sans-serif`;
	context.textAlign = "right";
	context.fillText(`${number.format(length)} Oktette`, width, label - 4 * scale);
	context.fillText(`${number.format(Math.round(span / 100) / 10)} s`, width, height - 2 * scale);
}

// resolve returns a colour of the style sheet in a form that a canvas takes.
function resolve(style, name) {
	const probe = document.body.appendChild(element("i", "", ""));
	probe.style.color = `var(${name})`;
	const color = getComputedStyle(probe).color;
	probe.remove();
	return color;
}

$("file").onchange = event => {
	const [file] = event.target.files;
	if (file) send(file, file.size);
	event.target.value = "";
};
$("random").onclick = () => {
	const octets = new Uint8Array(32 << 20), most = 65536; // as many as getRandomValues gives at once
	for (let i = 0; i < octets.length; i += most) crypto.getRandomValues(octets.subarray(i, i + most));
	send(octets, octets.length);
};
