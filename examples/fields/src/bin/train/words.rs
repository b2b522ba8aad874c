//! Words that the generator puts together. None of them names a person or a real host.

/// Given names and job words, for the part of an address before the `@`.
pub const LOCAL: [&str; 40] = [
    "ada",
    "anna",
    "ben",
    "carla",
    "chen",
    "dora",
    "emil",
    "fatima",
    "goran",
    "hana",
    "ivo",
    "jana",
    "kofi",
    "lena",
    "marta",
    "nils",
    "olga",
    "pavel",
    "rosa",
    "sven",
    "tariq",
    "uma",
    "vera",
    "yuki",
    "zoe",
    "admin",
    "billing",
    "contact",
    "help",
    "info",
    "jobs",
    "mail",
    "news",
    "office",
    "orders",
    "press",
    "sales",
    "support",
    "team",
    "webmaster",
];

/// Made-up family names.
pub const FAMILY: [&str; 20] = [
    "alder", "birch", "brook", "cliff", "dale", "elm", "field", "glen", "heath", "hill", "lake",
    "marsh", "moor", "oak", "pond", "reed", "ridge", "stone", "vale", "wood",
];

/// Reserved for documentation: <https://www.rfc-editor.org/rfc/rfc2606>, section 3.
pub const DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];

/// In front of a domain.
pub const HOSTS: [&str; 12] =
    ["api", "blog", "cdn", "dev", "docs", "eu", "m", "mail", "shop", "static", "wiki", "www"];

/// Parts of a path.
pub const PATHS: [&str; 20] = [
    "about",
    "api",
    "blog",
    "cart",
    "docs",
    "faq",
    "files",
    "help",
    "img",
    "index.html",
    "items",
    "login",
    "map",
    "news",
    "page",
    "search",
    "status",
    "users",
    "v1",
    "v2",
];

pub const EXTENSIONS: [&str; 12] =
    ["csv", "docx", "jpg", "json", "md", "mp3", "pdf", "png", "rs", "txt", "xml", "zip"];

pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

pub const HOURS: [&str; 12] = [
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
];

pub const ZONES: [&str; 6] = ["UTC", "GMT", "CET", "EST", "Z", "+02:00"];

pub const UNITS: [&str; 14] =
    ["%", "cm", "EUR", "GB", "h", "kg", "km", "l", "m", "mm", "ms", "s", "USD", "V"];

/// Words of running text, "example" and "com" so that these do not give an address away.
pub const WORDS: [&str; 120] = [
    "about", "above", "account", "address", "again", "amount", "and", "answer", "apple", "animal",
    "arrow", "bag", "balance", "basket", "before", "between", "blue", "bottle", "bread", "bridge",
    "button", "café", "camera", "castle", "chair", "city", "cloud", "colour", "com", "comment",
    "company", "corner", "country", "crème", "customer", "dark", "date", "delivery", "desk",
    "door", "dot", "draft", "eight", "email", "empty", "entry", "example", "fast", "figure",
    "first", "floor", "flower", "forest", "garden", "glass", "green", "group", "hammer", "harbour",
    "height", "hello", "house", "index", "invoice", "island", "journey", "kettle", "kitchen",
    "ladder", "large", "letter", "light", "line", "list", "market", "maybe", "message", "minute",
    "mirror", "month", "morning", "mountain", "naïve", "net", "never", "note", "number", "ocean",
    "open", "option", "orange", "order", "other", "paper", "parcel", "pencil", "place", "project",
    "question", "quiet", "report", "river", "room", "second", "shelf", "simple", "small",
    "station", "street", "summary", "table", "time", "title", "total", "über", "value", "water",
    "window", "winter", "yellow",
];

/// What syllables of made-up words start with.
pub const ONSETS: [&str; 24] = [
    "b", "br", "c", "ch", "d", "f", "fl", "g", "h", "j", "k", "l", "m", "n", "p", "qu", "r", "s",
    "sh", "st", "t", "th", "v", "w",
];

pub const VOWELS: [&str; 9] = ["a", "e", "i", "o", "u", "y", "ai", "ea", "oo"];

/// What made-up words end with.
pub const CODAS: [&str; 12] = ["", "", "", "d", "ing", "l", "m", "n", "r", "s", "t", "x"];
