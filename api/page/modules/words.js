// What the page says, in one place: a record's fields as sentences.

export const NOTICE = "Research use only. Not a medical device.";

export const STATUSES = {
  classified: "The model stands by this label.",
  referred: "The model does not stand by this label. A person should look.",
  rejected: "This image cannot be classified.",
  superseded: "This image was overwritten or deleted before it could be read.",
  failed: "This image could not be processed so far. If a later try succeeds, its answer appears here.",
};

export const TRIAGE = {
  urgent: "Urgent: the malignant labels together pass the model's threshold.",
  routine: "Routine: the malignant labels together stay below the model's threshold. That rules nothing out.",
};

export const STATES = {
  waiting: { pill: "waiting", headline: "Waiting", remark: "Its upload begins soon.", ring: "waiting" },
  uploading: { pill: "uploading", headline: "Uploading", remark: "Keep this page open.", ring: "uploading" },
  stored: { pill: "safe to close", headline: "Uploaded", remark: "The page may be closed. The answer waits here.", ring: "answer to come" },
  stopped: { pill: "not uploaded", headline: "Not uploaded" },
  unknown: { pill: "no record", headline: "No record", remark: "There is no record of this upload. It may have been erased." },
};

/** 0.554 as `55%`; never 0% or 100%, which no model can promise. */
export function percent(share) {
  if (share > 0 && share < 0.01) return "<1%";
  if (share < 1 && share > 0.99) return ">99%";
  return `${Math.round(share * 100)}%`;
}

/** 0.554 as "about 11 in 20": people judge counts better than percentages. */
export function inWords(share) {
  if (share > 0.975) return "nearly certain";
  if (share < 0.025) return "less than 1 in 40";
  const twentieths = Math.round(share * 20);
  return twentieths % 2 ? `about ${twentieths} in 20` : `about ${twentieths / 2} in 10`;
}

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function megabytes(bytes) {
  return `${Math.floor(bytes / 2 ** 20)} MB`;
}

const DATE = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export function date(iso) {
  const moment = new Date(iso);
  return Number.isNaN(moment.getTime()) ? "" : DATE.format(moment);
}

/** Characters that turn a line around or move a cursor must not disguise a file's name. */
export function oneLine(name) {
  return name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "\uFFFD");
}

/** A name for one image: the file's while this tab knows it, otherwise when it was uploaded. */
export function title(item) {
  if (item.name) return oneLine(item.name);
  const at = item.record?.uploaded_at ?? item.at;
  return at ? `Upload of ${date(at)}` : "Upload";
}

export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}
