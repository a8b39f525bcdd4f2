/* words.c: see words.h. */
#include "eval/words.h"

#include <stdio.h>
#include <string.h>

static const char *const ADJECTIVES[] = {
    "ample",    "ancient",  "angry",    "ashen",    "austere",  "awkward",  "azure",    "bashful",
    "bitter",   "bleak",    "blond",    "blunt",    "bold",     "brave",    "breezy",   "brief",
    "bright",   "brittle",  "broad",    "broken",   "bronze",   "brown",    "bumpy",    "busy",
    "calm",     "careful",  "careless", "casual",   "cautious", "charming", "cheap",    "cheerful",
    "chief",    "childish", "chilly",   "chubby",   "civil",    "clean",    "clear",    "clever",
    "cloudy",   "clumsy",   "coarse",   "compact",  "copper",   "costly",   "cozy",     "crafty",
    "crazy",    "creamy",   "crimson",  "crisp",    "crooked",  "crowded",  "cruel",    "curious",
    "curly",    "curved",   "daily",    "damp",     "daring",   "dark",     "dazzling", "dear",
    "decent",   "deep",     "delicate", "dense",    "dirty",    "distant",  "dizzy",    "double",
    "drowsy",   "dull",     "dusty",    "eager",    "earnest",  "eastern",  "easy",     "elegant",
    "empty",    "endless",  "equal",    "exact",    "faint",    "fair",     "faithful", "false",
    "famous",   "fancy",    "fast",     "feeble",   "fierce",   "final",    "firm",     "flat",
    "fluffy",   "foamy",    "fond",     "foolish",  "formal",   "fragile",  "frank",    "free",
    "fresh",    "friendly", "frosty",   "frozen",   "funny",    "fuzzy",    "gentle",   "giant",
    "gifted",   "glad",     "glassy",   "gloomy",   "glossy",   "golden",   "graceful", "grand",
    "grateful", "greedy",   "grim",     "gruff",    "grumpy",   "handy",    "happy",    "hardy",
    "harsh",    "hasty",    "hazy",     "heavy",    "hollow",   "holy",     "honest",   "huge",
    "humble",   "humid",    "hungry",   "ideal",    "idle",     "jagged",   "jolly",    "joyful",
    "juicy",    "keen",     "kind",     "knotty",   "large",    "late",     "lazy",     "leafy",
    "light",    "limp",     "lively",   "lofty",    "loose",    "lovely",   "loyal",    "lucky",
    "lush",     "main",     "marble",   "massive",  "mellow",   "merry",    "mighty",   "mild",
    "minor",    "misty",    "modern",   "modest",   "moist",    "muddy",    "muted",    "narrow",
    "nasty",    "neat",     "nervous",  "nimble",   "noble",    "noisy",    "northern", "novel",
    "opal",     "open",     "orange",   "outer",    "oval",     "pale",     "patient",  "peaceful",
    "pink",     "plain",    "playful",  "pleasant", "plump",    "polite",   "poor",     "precious",
    "pretty",   "prickly",  "prime",    "private",  "proud",    "public",   "puny",     "pure",
    "purple",   "quaint",   "quick",    "quiet",    "rapid",    "rare",     "ready",    "rigid",
    "ripe",     "robust",   "rocky",    "rosy",     "rotten",   "rough",    "round",    "royal",
    "rude",     "rugged",   "rural",    "rusty",    "salty",    "scarlet",  "scary",    "secret",
    "serene",   "severe",   "shaggy",   "shallow",  "sharp",    "shiny",    "short",    "silent",
    "silky",    "silly",    "silver",   "simple",   "skinny",   "sleepy",   "slender",  "slim",
    "slow",     "small",    "smart",    "smooth",   "soapy",    "sober",    "soft",     "solemn"};
enum { N_ADJECTIVES = sizeof ADJECTIVES / sizeof *ADJECTIVES };

static const char *const NOUNS[] = {
    "acorn",     "airport",   "album",    "almond",   "amber",     "anchor",   "angle",
    "ankle",     "antelope",  "apple",    "apron",    "arena",     "armchair", "artist",
    "atlas",     "attic",     "autumn",   "avenue",   "badger",    "bagel",    "bakery",
    "balcony",   "ballad",    "bamboo",   "banana",   "banjo",     "banner",   "barley",
    "barrel",    "basin",     "basket",   "bathtub",  "battery",   "beach",    "beacon",
    "bean",      "bear",      "beaver",   "bedroom",  "beehive",   "beetle",   "bell",
    "bench",     "berry",     "bicycle",  "birch",    "biscuit",   "bison",    "blanket",
    "blossom",   "boat",      "bonfire",  "bonnet",   "boot",      "bottle",   "boulder",
    "bouquet",   "bowl",      "bracelet", "branch",   "bread",     "breeze",   "brick",
    "bridge",    "broccoli",  "brook",    "broom",    "brush",     "bubble",   "bucket",
    "buckle",    "budget",    "buffalo",  "builder",  "bulb",      "bundle",   "burrow",
    "butcher",   "butter",    "button",   "cabbage",  "cabin",     "cable",    "cactus",
    "calendar",  "camel",     "camera",   "campus",   "canal",     "candle",   "canoe",
    "canvas",    "canyon",    "captain",  "caravan",  "carpet",    "carrot",   "cart",
    "castle",    "catalog",   "cattle",   "cave",     "cedar",     "ceiling",  "cellar",
    "cello",     "cereal",    "chain",    "chalk",    "chapel",    "chapter",  "charcoal",
    "cheese",    "cherry",    "chest",    "chimney",  "chisel",    "chorus",   "cider",
    "cinema",    "circle",    "circus",   "citizen",  "clarinet",  "cliff",    "climate",
    "clock",     "closet",    "clover",   "coach",    "coast",     "cobbler",  "cocoa",
    "coconut",   "coffee",    "coin",     "collar",   "colony",    "column",   "comet",
    "compass",   "concert",   "condor",   "cookie",   "coral",     "corner",   "cottage",
    "cotton",    "cougar",    "courage",  "cousin",   "cradle",    "crane",    "crater",
    "crayon",    "creek",     "cricket",  "crown",    "crystal",   "cube",     "cucumber",
    "cupboard",  "curtain",   "cushion",  "custard",  "cyclone",   "dagger",   "dairy",
    "daisy",     "dancer",    "dawn",     "decade",   "deer",      "denim",    "dentist",
    "desert",    "dessert",   "diamond",  "diary",    "dinner",    "diploma",  "doctor",
    "dolphin",   "domino",    "donkey",   "door",     "dragon",    "drawer",   "dream",
    "dress",     "drummer",   "duchess",  "duck",     "dune",      "dwarf",    "eagle",
    "earring",   "echo",      "editor",   "elbow",    "elephant",  "embassy",  "emerald",
    "empire",    "engine",    "envelope", "errand",   "estate",    "evening",  "fable",
    "fabric",    "factory",   "falcon",   "family",   "farmer",    "feather",  "fence",
    "fern",      "ferry",     "festival", "fiddle",   "field",     "finch",    "finger",
    "fireplace", "fisher",    "flag",     "flame",    "flannel",   "flask",    "flavor",
    "fleet",     "flood",     "floor",    "flour",    "flower",    "flute",    "forest",
    "fork",      "fossil",    "fountain", "freckle",  "frog",      "fruit",    "furnace",
    "gadget",    "galaxy",    "gallery",  "garage",   "garden",    "garlic",   "gate",
    "gazelle",   "gecko",     "ghost",    "giraffe",  "glacier",   "glove",    "goat",
    "goblet",    "goose",     "gorilla",  "granite",  "grape",     "gravel",   "guitar",
    "gull",      "hallway",   "hammer",   "hamster",  "harbor",    "harvest",  "hawk",
    "hazel",     "hedge",     "helmet",   "herald",   "hermit",    "heron",    "hinge",
    "hockey",    "honey",     "hook",     "horizon",  "hornet",    "horse",    "hotel",
    "hound",     "house",     "hunter",   "hurdle",   "iceberg",   "idol",     "igloo",
    "infant",    "inkwell",   "insect",   "island",   "ivory",     "jacket",   "jaguar",
    "jasmine",   "jelly",     "jester",   "jewel",    "jockey",    "journal",  "journey",
    "judge",     "jungle",    "juniper",  "kayak",    "kennel",    "kettle",   "keyboard",
    "kingdom",   "kitchen",   "kite",     "kitten",   "knee",      "knight",   "knuckle",
    "koala",     "ladder",    "lagoon",   "lake",     "lamp",      "lantern",  "lark",
    "laundry",   "lawyer",    "leader",   "lemon",    "leopard",   "lesson",   "lettuce",
    "library",   "lilac",     "lily",     "limb",     "linen",     "lion",     "lizard",
    "llama",     "lobster",   "locket",   "lotus",    "lumber",    "lunch",    "lyric",
    "magnet",    "mailbox",   "mango",    "mansion",  "maple",     "marigold", "market",
    "marmot",    "mask",      "mason",    "mayor",    "meadow",    "medal",    "melody",
    "melon",     "mermaid",   "meteor",   "midnight", "milk",      "miner",    "mirror",
    "mitten",    "molecule",  "monarch",  "monkey",   "monsoon",   "monument", "moon",
    "moose",     "morning",   "mosaic",   "moss",     "moth",      "motor",    "mountain",
    "mouse",     "mouth",     "muffin",   "mule",     "museum",    "mushroom", "music",
    "mustard",   "napkin",    "nebula",   "necklace", "needle",    "neighbor", "nephew",
    "nickel",    "noodle",    "nose",     "notebook", "nurse",     "nutmeg",   "oasis",
    "oboe",      "ocean",     "octopus",  "office",   "olive",     "onion",    "opera",
    "orbit",     "orchard",   "orchid",   "organ",    "ostrich",   "oxygen",   "oyster",
    "paddle",    "painter",   "palace",   "palm",     "pancake",   "panda",    "pantry",
    "papaya",    "paper",     "parade",   "parcel",   "parent",    "parrot",   "pasture",
    "path",      "peach",     "peacock",  "peanut",   "pearl",     "pebble",   "pelican",
    "pencil",    "penguin",   "pepper",   "perfume",  "piano",     "picnic",   "pigeon",
    "pillow",    "pilot",     "pirate",   "pistol",   "planet",    "plaza",    "pocket",
    "poem",      "poet",      "polygon",  "pond",     "pony",      "poplar",   "porch",
    "portrait",  "potato",    "pottery",  "powder",   "prairie",   "prince",   "printer",
    "prism",     "pudding",   "pulley",   "pumpkin",  "pupil",     "puppet",   "puzzle",
    "pyramid",   "quarry",    "quartz",   "queen",    "quilt",     "rabbit",   "raccoon",
    "radar",     "radio",     "radish",   "raisin",   "raven",     "reactor",  "recipe",
    "reef",      "relic",     "reptile",  "ribbon",   "rice",      "riddle",   "river",
    "robin",     "rocket",    "roof",     "rooster",  "root",      "rope",     "rose",
    "rudder",    "runner",    "saddle",   "sailor",   "salad",     "salmon",   "sandal",
    "sapphire",  "satellite", "sauce",    "sausage",  "scarf",     "scholar",  "school",
    "scissors",  "scooter",   "sculptor", "seal",     "season",    "seed",     "senator",
    "shadow",    "shark",     "sheep",    "shelf",    "shell",     "sheriff",  "shield",
    "shirt",     "shoe",      "shoulder", "shovel",   "sister",    "skater",   "sketch",
    "skull",     "slipper",   "sloth",    "snail",    "snake",     "snow",     "soccer",
    "sofa",      "soldier",   "sonnet",   "soup",     "sparrow",   "spear",    "spider",
    "spinach",   "sponge",    "spoon",    "spring",   "squirrel",  "stable",   "stadium",
    "stair",     "stamp",     "statue",   "stone",    "stork",     "stove",    "student",
    "sugar",     "summer",    "sunset",   "surgeon",  "swan",      "sweater",  "symbol",
    "tailor",    "tango",     "teacher",  "teapot",   "temple",    "tennis",   "theater",
    "thimble",   "throne",    "thumb",    "thunder",  "ticket",    "tiger",    "timber",
    "toast",     "tomato",    "torch",    "tornado",  "tortoise",  "tower",    "tractor",
    "trail",     "train",     "treasure", "tree",     "trophy",    "truck",    "trumpet",
    "tulip",     "tunnel",    "turkey",   "turnip",   "turtle",    "uncle",    "unicorn",
    "valley",    "vampire",   "vase",     "veil",     "vessel",    "viking",   "village",
    "vinegar",   "violin",    "volcano",  "voyage",   "waffle",    "wagon",    "waiter",
    "walnut",    "walrus",    "warrior",  "watch",    "waterfall", "weasel",   "weaver",
    "wharf",     "wheat",     "wheel",    "whisker",  "whistle",   "widow",    "willow",
    "window",    "winter",    "witch",    "wizard",   "wolf",      "wombat",   "wren",
    "wrist",     "writer",    "yacht",    "yogurt",   "zebra",     "zeppelin", "zipper"};
enum { N_NOUNS = sizeof NOUNS / sizeof *NOUNS };

uint64_t words_n_single(void) {
    return N_ADJECTIVES + N_NOUNS;
}

void words_single(uint64_t i, char out[WORDS_MOST]) {
    const char *word = i < N_ADJECTIVES ? ADJECTIVES[i] : NOUNS[(i - N_ADJECTIVES) % N_NOUNS];
    snprintf(out, WORDS_MOST, "%s", word);
}

uint64_t words_n_pairs(void) {
    return (uint64_t)N_ADJECTIVES * N_NOUNS;
}

void words_pair(uint64_t i, char out[WORDS_MOST]) {
    snprintf(out, WORDS_MOST, "%s-%s", ADJECTIVES[i / N_NOUNS % N_ADJECTIVES], NOUNS[i % N_NOUNS]);
}
