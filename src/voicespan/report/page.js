"use strict";
// Draws the call on a canvas, plays it, and lights up what is heard. Everything shown is set as text, never as markup.
(async () => {
  const by = (id) => document.getElementById(id);
  const unpack = async (node) => {
    const bytes = Uint8Array.from(atob(node.textContent), (letter) => letter.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(plain).json();
  };
  let data = await unpack(by("voicespan"));
  const canvas = by("lanes"), audio = by("audio"), detail = by("detail"), stage = by("stage");
  const pen = canvas.getContext("2d");
  const HEIGHT = { ruler: 20, side: 56, marks: 22, lane: 16 };
  const LANES = 8;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let from = 0, to = 1, cursor = 0, boxes = [], lanes = [], words = [];

  const first = () => Math.min(0, data.offset);
  const length = () => Math.max(data.seconds, 0.1);
  const x = (seconds) => ((seconds - from) / (to - from)) * canvas.clientWidth;
  const at = (px) => from + (px / canvas.clientWidth) * (to - from);
  const clock = (s) => `${s < 0 ? "-" : ""}${Math.floor(Math.abs(s) / 60)}:${(Math.abs(s) % 60).toFixed(1).padStart(4, "0")}`;

  function arrange() {
    // Spans in lanes: each in the first that is free when it starts. The root is the whole width anyway.
    const free = [];
    lanes = [];
    for (const span of data.spans) {
      if (span.id === data.spans[0].id || span.name.endsWith("_transcription")) continue;
      let lane = free.findIndex((end) => end <= span.start);
      if (lane < 0) lane = free.length < LANES ? free.length : LANES - 1;
      free[lane] = Math.max(span.end, span.start + (to - from) / 400);
      lanes.push([lane, span]);
    }
  }

  function height() {
    const used = Math.max(1, ...lanes.map(([lane]) => lane + 1));
    return HEIGHT.ruler + 2 * HEIGHT.side + HEIGHT.marks + used * HEIGHT.lane + 6;
  }

  function draw() {
    const scale = devicePixelRatio || 1, wide = canvas.clientWidth, high = height();
    canvas.style.height = `${high}px`;
    canvas.width = wide * scale;
    canvas.height = high * scale;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    boxes = [];
    canvas.dataset.from = from.toFixed(3);
    canvas.dataset.to = to.toFixed(3);
    ruler(wide);
    ["--user", "--agent"].forEach((color, side) => wave(side, css(color), HEIGHT.ruler + side * HEIGHT.side, wide));
    marks();
    for (const [lane, span] of lanes) box(span, HEIGHT.ruler + 2 * HEIGHT.side + HEIGHT.marks + lane * HEIGHT.lane);
    pen.fillStyle = css("--cut");
    pen.fillRect(x(cursor), 0, 1, high);
  }

  function ruler(wide) {
    const step = [0.5, 1, 2, 5, 10, 30, 60, 300, 600].find((each) => (each / (to - from)) * wide > 70) || 1800;
    pen.fillStyle = "#888";
    for (let mark = Math.ceil(from / step) * step; mark < to; mark += step) {
      pen.fillRect(x(mark), 0, 1, 5);
      pen.fillText(clock(mark), x(mark) + 3, 9);
    }
  }

  function wave(side, color, top, wide) {
    const peaks = data.peaks[side] || [], middle = top + HEIGHT.side / 2;
    for (const each of data.said.filter((one) => (one.who === "user") === (side === 0))) {
      pen.fillStyle = `color-mix(in srgb, ${color} 14%, transparent)`;
      pen.fillRect(x(each.start), top, Math.max(x(each.end) - x(each.start), 1), HEIGHT.side);
    }
    pen.fillStyle = color;
    for (let px = 0; px < wide; px++) {
      let most = 0;
      for (let i = Math.max(0, Math.floor(at(px) * 50)); i <= at(px + 1) * 50 && i < peaks.length; i++) most = Math.max(most, peaks[i]);
      const tall = Math.max((most / 127) * (HEIGHT.side / 2 - 3), 0.4);
      pen.fillRect(px, middle - tall, 1, 2 * tall);
    }
    if (side === 1) data.unheard.forEach((each) => hatch(each, top));
    pen.fillStyle = "#888";
    pen.fillText(side ? "agent" : "user", 4, top + 8);
  }

  function hatch(part, top) {
    const left = x(part.start), right = x(part.end);
    pen.save();
    pen.beginPath();
    pen.rect(left, top + 8, right - left, HEIGHT.side - 16);
    pen.clip();
    pen.strokeStyle = css("--cut");
    pen.beginPath();
    for (let line = left - HEIGHT.side; line < right; line += 6) {
      pen.moveTo(line, top + HEIGHT.side);
      pen.lineTo(line + HEIGHT.side, top);
    }
    pen.stroke();
    pen.restore();
    pen.strokeStyle = css("--cut");
    pen.strokeRect(left, top + 8, right - left, HEIGHT.side - 16);
    boxes.push({ left, right, top: top + 8, bottom: top + HEIGHT.side - 8, id: part.span });
  }

  function marks() {
    const top = HEIGHT.ruler + 2 * HEIGHT.side;
    pen.strokeStyle = pen.fillStyle = css("--gap");
    for (const gap of data.gaps) {
      const left = x(gap.start), right = x(gap.end);
      pen.beginPath();
      pen.moveTo(left, top + 2); pen.lineTo(left, top + 7); pen.lineTo(right, top + 7); pen.lineTo(right, top + 2);
      pen.stroke();
      let passed = gap.start;
      gap.parts.slice(0, -1).forEach((part) => { passed += part.ms / 1000; pen.fillRect(x(passed), top + 5, 1, 4); });
      if (right - left > 30) pen.fillText(`${gap.ms} ms`, left, top + 15);
      boxes.push({ left, right, top, bottom: top + HEIGHT.marks, id: gap.span, say: gap });
    }
    pen.fillStyle = css("--cut");
    for (const cut of data.cuts) {
      pen.fillRect(x(cut.at), HEIGHT.ruler, 1, 2 * HEIGHT.side);
      pen.fillText(`✂ ${cut.cause || ""}`, x(cut.at) + 3, top + 15);
      boxes.push({ left: x(cut.at) - 4, right: x(cut.at) + 60, top, bottom: top + HEIGHT.marks, id: cut.span, say: cut });
    }
  }

  function box(span, top) {
    const left = x(span.start), right = Math.max(x(span.end), left + 2);
    if (right < 0 || left > canvas.clientWidth) return;
    const color = span.error ? css("--cut") : span.kind === "llm" ? css("--agent") : span.kind === "tool" ? css("--gap") : "#8888";
    pen.fillStyle = `color-mix(in srgb, ${color} 45%, transparent)`;
    pen.fillRect(left, top + 1, right - left, HEIGHT.lane - 3);
    boxes.push({ left, right, top, bottom: top + HEIGHT.lane, id: span.id });
    if (right - left > 40) {
      pen.save();
      pen.beginPath();
      pen.rect(Math.max(left, 0), top, right - Math.max(left, 0) - 2, HEIGHT.lane);
      pen.clip();
      pen.fillStyle = css("color") || getComputedStyle(document.body).color;
      pen.fillText(span.name.replace(/^function_call: /, ""), Math.max(left, 0) + 3, top + HEIGHT.lane / 2);
      pen.restore();
    }
  }

  function show(id, extra) {
    const span = data.spans.find((each) => each.id === id);
    if (!span) return;
    detail.replaceChildren();
    const title = document.createElement("b");
    title.textContent = `${span.name}  ${clock(span.start)}, ${(span.end - span.start).toFixed(3)} s`;
    detail.append(title);
    const facts = { ...(extra ? { here: extra } : {}), ...(span.error ? { error: span.error } : {}), ...span.attributes };
    const pre = document.createElement("pre");
    pre.textContent = Object.entries(facts).map(([key, value]) => `${key}: ${typeof value === "object" ? JSON.stringify(value) : value}`).join("\n");
    detail.append(pre);
    detail.hidden = false;
  }

  function bringIntoView() {
    if (cursor >= from && cursor <= to) return;
    // With what leads to it.
    const wide = to - from;
    from = Math.max(first(), Math.min(cursor - wide / 10, length() - wide));
    to = from + wide;
  }

  function seek(seconds, play) {
    cursor = Math.min(Math.max(seconds, first()), length());
    bringIntoView();
    if (audio) {
      audio.currentTime = Math.max(cursor, 0);
      if (play) audio.play().catch(() => {});
    }
    light();
    draw();
  }

  function light() {
    for (const word of words) word.node.classList.toggle("now", word.start <= cursor && cursor < word.end);
  }

  function zoom(factor, around) {
    const wide = Math.min(Math.max((to - from) * factor, 0.5), length() - first());
    from = Math.min(Math.max(around - ((around - from) / (to - from)) * wide, first()), length() - wide);
    to = from + wide;
    arrange();
    draw();
  }

  function collect() {
    words = [...document.querySelectorAll("#said [data-start]")].map((node) => ({ node, start: +node.dataset.start, end: +node.dataset.end }));
  }

  canvas.addEventListener("click", (event) => {
    const hit = boxes.findLast((each) => event.offsetX >= each.left - 1 && event.offsetX <= each.right + 1 && event.offsetY >= each.top && event.offsetY < each.bottom);
    const span = hit && data.spans.find((each) => each.id === hit.id);
    if (span) show(hit.id, hit.say);
    seek(span && event.offsetY > HEIGHT.ruler + 2 * HEIGHT.side ? (hit.say && hit.say.start) || span.start : at(event.offsetX), true);
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
      const move = ((event.deltaX || event.deltaY) / canvas.clientWidth) * (to - from);
      const moved = Math.min(Math.max(from + move, first()), length() - (to - from));
      to += moved - from;
      from = moved;
      draw();
    } else zoom(Math.exp(event.deltaY / 400), at(event.offsetX));
  }, { passive: false });
  document.addEventListener("click", (event) => {
    const node = event.target.closest("[data-start], [data-span-id]");
    if (!node || node === canvas) return;
    const holder = event.target.closest("[data-span-id]"), span = holder && data.spans.find((each) => each.id === holder.dataset.spanId);
    if (span) show(span.id);
    seek(node.dataset.start !== undefined ? +node.dataset.start : span ? span.start : 0, true);
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, button, audio, summary") || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 5 : 1;
    if (event.key === "ArrowRight") seek(cursor + step);
    else if (event.key === "ArrowLeft") seek(cursor - step);
    else if (event.key === "+" || event.key === "=") zoom(0.5, cursor);
    else if (event.key === "-") zoom(2, cursor);
    else if (event.key === " " && audio) audio.paused ? audio.play().catch(() => {}) : audio.pause();
    else return;
    event.preventDefault();
  });
  if (audio) {
    const follow = () => {
      cursor = audio.currentTime;
      bringIntoView();
      light();
      draw();
      if (!audio.paused) requestAnimationFrame(follow);
    };
    audio.addEventListener("play", () => requestAnimationFrame(follow));
    audio.addEventListener("seeked", () => { if (audio.paused) follow(); });
  }

  function fill(list, said) {
    // A call that runs: what was said since is added as text.
    list.replaceChildren(...said.map((each) => {
      const item = document.createElement("li"), time = document.createElement("time"), who = document.createElement("b"), quote = document.createElement("q");
      item.className = each.who;
      item.dataset.spanId = each.span;
      time.textContent = clock(each.start);
      who.textContent = ` ${each.who} `;
      quote.append(...each.words.map(([word, start, end]) => {
        const node = document.createElement("span");
        node.textContent = word;
        node.dataset.start = start;
        node.dataset.end = end;
        return node;
      }));
      if (each.unheard) {
        const rest = document.createElement("s");
        rest.textContent = each.unheard;
        quote.append(rest);
      }
      item.append(time, who, quote);
      return item;
    }));
  }

  async function watch(url) {
    const whole = to - from >= length() - first() - 0.01;
    try {
      const answer = await fetch(url, { cache: "no-store" });
      if (answer.ok) {
        data = await answer.json();
        fill(by("said"), data.said);
        if (whole) { from = first(); to = length(); }
        collect();
        arrange();
        draw();
        document.body.dataset.updates = +(document.body.dataset.updates || 0) + 1;
        if (!data.running) { location.reload(); return; }
      }
    } catch { /* The viewer has gone, or comes back. */ }
    setTimeout(() => watch(url), 1000);
  }

  stage.hidden = false;
  from = first();
  to = length();
  collect();
  arrange();
  draw();
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  if (document.body.dataset.live && data.running) watch(document.body.dataset.live);
  document.body.dataset.ready = "yes";
})();
