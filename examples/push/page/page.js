import {connect} from "./socket.js";

const $ = id => document.getElementById(id);
const most = 60_000, least = 5_000; // ms that a plot shows
const number = new Intl.NumberFormat("en");
const decimal = new Intl.NumberFormat("en", {minimumFractionDigits: 2, maximumFractionDigits: 2});
const clock = new Intl.DateTimeFormat(undefined, {timeStyle: "medium"});

let values = []; // {time, cpu, gap}, of the last minute, the oldest first
let every = 200;
let due = false; // a frame is due

function add(v) {
	const last = values.at(-1);
	v.gap = last && v.n === last.n + 1 ? v.time - last.time : null;
	values.push(v);
	while (values[0].time < v.time - most) values.shift();
}

function show(v) {
	$("n").textContent = number.format(v.n);
	$("time").textContent = clock.format(v.time);
	$("load").textContent = v.load === null ? "unknown" : decimal.format(v.load);
	$("viewers").textContent = number.format(v.viewers);
	$("dropped").textContent = number.format(v.dropped);
	$("cpu").value = v.cpu === null ? "unknown" : `${Math.round(v.cpu)} %`;
	$("gap").value = v.gap === null ? "" : `${number.format(v.gap)} ms`;
	if (!due) requestAnimationFrame(drawAll);
	due = true;
}

function drawAll() {
	due = false;
	draw($("cpu-plot"), v => v.cpu, 100, "%");
	draw($("gap-plot"), v => v.gap, Math.max(2 * every, ...values.map(v => v.gap)), "ms");
}

// draw draws what of gives for each value, null where there is none, on a scale from 0 to highest.
function draw(canvas, of, highest, unit) {
	const scale = devicePixelRatio, label = 18 * scale;
	const width = canvas.width = canvas.clientWidth * scale, height = canvas.height = canvas.clientHeight * scale;
	const context = canvas.getContext("2d"), end = values.at(-1)?.time ?? 0, shown = Math.max(least, end - (values[0]?.time ?? 0));
	const x = time => width - (end - time) / shown * width, y = n => label + (1 - n / highest) * (height - 2 * label);
	const use = name => context.fillStyle = context.strokeStyle = color(name);
	use("--line");
	context.lineWidth = scale;
	for (const part of [0, .25, .5, .75, 1]) context.strokeRect(0, y(part * highest), width, 0);

	use("--accent");
	context.lineWidth = 2 * scale;
	context.lineJoin = "round";
	let run = []; // points without a gap between them
	const finish = () => {
		if (run.length > 1) plot(context, run, y(0));
		run = [];
	};
	for (const v of values) {
		if (of(v) === null) finish();
		else run.push([x(v.time), y(of(v))]);
	}
	finish();

	use("--faint");
	context.font = `${12 * scale}px system-ui, sans-serif`;
	context.fillText(`${number.format(Math.round(highest))} ${unit}`, 0, label - 5 * scale);
	context.fillText(`${Math.round(shown / 1000)} seconds ago`, 0, height - 3 * scale);
	context.textAlign = "right";
	context.fillText("now", width, height - 3 * scale);
}

// plot draws a line and shades what is below it.
function plot(context, points, floor) {
	context.beginPath();
	for (const [x, y] of points) context.lineTo(x, y);
	context.stroke();
	context.lineTo(points.at(-1)[0], floor);
	context.lineTo(points[0][0], floor);
	context.globalAlpha = .12;
	context.fill();
	context.globalAlpha = 1;
}

// color returns a colour of the style sheet in a form that a canvas takes.
const probe = document.body.appendChild(document.createElement("i"));
function color(name) {
	probe.style.color = `var(${name})`;
	return getComputedStyle(probe).color;
}

const receive = {
	welcome(m) {
		every = m.every;
		values = [];
		m.recent.forEach(add);
		if (values.length) show(values.at(-1));
	},
	value(v) {
		add(v);
		show(v);
	},
};

connect("ws", {
	words: {connecting: "connecting", open: "live", closed: seconds => `offline, again in ${seconds} s`},
	message: m => receive[m.type]?.(m), // what a newer server may send is no harm
});
addEventListener("resize", drawAll);
matchMedia("(prefers-color-scheme: dark)").onchange = drawAll;
