// Records as files, made in the browser.

import { NOTICE, title } from "./words.js";

const COLUMNS = {
  file: (item) => (item.name ? title(item) : ""),
  image: (item) => item.image,
  status: ({ record }) => record.status,
  label: ({ record }) => record.label,
  label_name: ({ record }) => record.label_name,
  confidence: ({ record }) => record.confidence,
  triage: ({ record }) => record.triage,
  prediction_set: ({ record }) => record.prediction_set?.join(" "),
  reasons: ({ record }) => record.reasons?.map((reason) => reason.code).join(" "),
  model: ({ record }) => record.model?.version ?? record.version?.split("#").at(-1),
  uploaded_at: ({ record }) => record.uploaded_at,
  predicted_at: ({ record }) => record.predicted_at,
  notice: () => NOTICE,
};

/** A cell that no spreadsheet takes for a formula (https://owasp.org/www-community/attacks/CSV_Injection). */
export function cell(value) {
  if (typeof value === "number") return String(value);
  const text = String(value ?? "");
  const plain = /^[\s\uFEFF]*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]|^[\t\r\n]/.test(text) ? `'${text}` : text;
  return /[",\r\n;']/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

export function csv(items) {
  const rows = items.map((item) => Object.values(COLUMNS).map((column) => cell(column(item))));
  return [Object.keys(COLUMNS), ...rows].map((row) => `${row.join(",")}\r\n`).join("");
}

export function saveCsv(items) {
  save(new Blob(["\uFEFF", csv(items)], { type: "text/csv" }), "dermbatch.csv"); // the mark tells Excel that it is UTF-8
}

export function saveJson(items, name = "dermbatch.json") {
  save(new Blob([JSON.stringify(items.map(({ record }) => record), null, 2)], { type: "application/json" }), name);
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
