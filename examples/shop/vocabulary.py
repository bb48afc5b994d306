"""The words that the shop's goods are named with: plain tables, no code that does anything.

Every category has kinds of goods, qualifiers that go with most of them and sentences for the descriptions. All text is
ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Category = Literal[
    "audio",
    "computers",
    "furniture",
    "garden",
    "kitchen",
    "lighting",
    "office",
    "outdoor",
    "phones",
    "photo",
    "sports",
    "toys",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of goods, with the price (whole units of money) and the weight (grams) that are usual for it."""

    name: str
    price: int
    weight: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """What one category is made of."""

    category: Category
    kinds: tuple[Kind, ...]
    qualifiers: tuple[str, ...]
    sentences: tuple[str, ...]


BRANDS = ("Norvik", "Halden", "Lumeo", "Castell", "Brightwater", "Orsa", "Tavira", "Kestrel", "Mirabel", "Fenwick")
COLOURS = ("black", "white", "grey", "navy", "sand", "forest green", "copper", "red")
PROMISES = (
    "Two years of guarantee.",
    "Spare parts are kept for ten years.",
    "Packed without plastic.",
    "Can be returned within 60 days.",
    "Rated well by people who use it every day.",
)

SHELVES: tuple[Shelf, ...] = (
    Shelf(
        "audio",
        (
            Kind("Headphones", 180, 260),
            Kind("Earbuds", 120, 50),
            Kind("Bookshelf Speaker", 240, 4200),
            Kind("Soundbar", 260, 3100),
            Kind("Turntable", 320, 5600),
            Kind("Microphone", 130, 480),
            Kind("Headphone Amplifier", 210, 1300),
        ),
        ("Wireless", "Noise Cancelling", "Studio", "Compact", "Waterproof", "Hi-Fi"),
        (
            "Warm, even sound from the first minute.",
            "Up to 30 hours on one battery charge.",
            "Pairs with two devices at once over Bluetooth.",
            "Closed back, so the neighbours hear nothing.",
            "A machined metal housing keeps vibration out.",
        ),
    ),
    Shelf(
        "computers",
        (
            Kind("Laptop", 1150, 1500),
            Kind("Monitor", 340, 5200),
            Kind("Mechanical Keyboard", 120, 980),
            Kind("Mouse", 45, 95),
            Kind("Docking Station", 170, 420),
            Kind("Webcam", 75, 140),
            Kind("External SSD", 110, 70),
            Kind("Router", 130, 560),
        ),
        ("Ergonomic", "Slim", "Gaming", "Business", "4K", "USB-C"),
        (
            "Quiet enough for a library.",
            "Works with Linux, macOS and Windows without a driver.",
            "One cable carries power, picture and network.",
            "The keys can be replaced one by one.",
            "Passed a drop test from desk height.",
        ),
    ),
    Shelf(
        "furniture",
        (
            Kind("Standing Desk", 540, 34000),
            Kind("Bookcase", 280, 29000),
            Kind("Armchair", 420, 21000),
            Kind("Dining Table", 690, 42000),
            Kind("Coat Rack", 85, 4800),
            Kind("Sideboard", 510, 38000),
            Kind("Bar Stool", 120, 6200),
        ),
        ("Oak", "Walnut", "Bamboo", "Steel", "Folding", "Upholstered"),
        (
            "Ships flat and goes together with one key.",
            "Height is set by a quiet motor with four memories.",
            "Oiled by hand, so it can be sanded and oiled again.",
            "Carries 120 kg without a wobble.",
            "Rounded corners, gentle on knees.",
        ),
    ),
    Shelf(
        "garden",
        (
            Kind("Watering Can", 28, 900),
            Kind("Hedge Trimmer", 140, 3400),
            Kind("Raised Bed", 110, 14000),
            Kind("Garden Hose", 45, 3900),
            Kind("Pruning Shears", 32, 290),
            Kind("Compost Bin", 75, 8200),
            Kind("Rain Barrel", 95, 9100),
        ),
        ("Galvanised", "Cordless", "Cedar", "Long Reach", "Frost Proof", "Foldable"),
        (
            "Stands the winter outside.",
            "Sharp out of the box and easy to sharpen again.",
            "Drip free, also when it is tilted.",
            "Runs for an hour on one battery.",
            "Made from recycled material.",
        ),
    ),
    Shelf(
        "kitchen",
        (
            Kind("Espresso Machine", 480, 9200),
            Kind("Coffee Grinder", 140, 2600),
            Kind("Frying Pan", 55, 1700),
            Kind("Chef's Knife", 80, 230),
            Kind("Kettle", 60, 1200),
            Kind("Stand Mixer", 350, 8100),
            Kind("Toaster", 65, 1900),
        ),
        ("Stainless Steel", "Cast Iron", "Compact", "Professional", "Digital", "Two Litre"),
        (
            "Heats up in forty seconds.",
            "Goes into the dishwasher, all of it.",
            "Holds its temperature within one degree.",
            "Works on induction, gas and in the oven.",
            "Weighed so that it sits well in the hand.",
        ),
    ),
    Shelf(
        "lighting",
        (
            Kind("Desk Lamp", 65, 1300),
            Kind("Floor Lamp", 140, 5200),
            Kind("Pendant Light", 110, 1900),
            Kind("Wall Light", 58, 800),
            Kind("String Lights", 24, 350),
            Kind("Reading Light", 32, 280),
        ),
        ("Dimmable", "Rechargeable", "Brass", "Paper", "Swivel Arm", "Motion Sensor"),
        (
            "Warm white, 2700 kelvin, without flicker.",
            "Dims from full light down to a candle.",
            "The light source can be replaced.",
            "Throws no glare on a screen.",
            "Long cable, switch within reach.",
        ),
    ),
    Shelf(
        "office",
        (
            Kind("Office Chair", 320, 15500),
            Kind("Notebook", 12, 310),
            Kind("Fountain Pen", 48, 60),
            Kind("Paper Shredder", 110, 6800),
            Kind("Whiteboard", 90, 5400),
            Kind("Filing Cabinet", 210, 26000),
            Kind("Label Printer", 95, 900),
        ),
        ("Adjustable", "Refillable", "Lockable", "Quiet", "Magnetic", "Mesh"),
        (
            "Made for eight hours a day.",
            "Refills are cheap and easy to find.",
            "Needs no ink.",
            "Parks under any desk.",
            "Wipes clean with a dry cloth.",
        ),
    ),
    Shelf(
        "outdoor",
        (
            Kind("Hiking Backpack", 150, 1500),
            Kind("Tent", 340, 2900),
            Kind("Sleeping Bag", 190, 1250),
            Kind("Camping Stove", 70, 320),
            Kind("Rain Jacket", 160, 380),
            Kind("Head Torch", 45, 95),
            Kind("Water Filter", 55, 180),
        ),
        ("Ultralight", "Four Season", "Two Person", "Waterproof", "Packable", "Insulated"),
        (
            "Keeps dry in a day of steady rain.",
            "Packs down to the size of a loaf of bread.",
            "Straps that adjust without taking it off.",
            "Up in three minutes, also in wind.",
            "Field tested in the Lofoten islands.",
        ),
    ),
    Shelf(
        "phones",
        (
            Kind("Smartphone", 690, 190),
            Kind("Phone Case", 24, 45),
            Kind("Power Bank", 49, 330),
            Kind("Wall Charger", 32, 110),
            Kind("Charging Cable", 15, 40),
            Kind("Smartwatch", 230, 60),
            Kind("Phone Tripod", 38, 420),
        ),
        ("Fast Charging", "Rugged", "Magnetic", "Solar", "Slim", "Braided"),
        (
            "Half full after twenty minutes.",
            "Survives a fall on to concrete.",
            "Charges three devices at the same time.",
            "Thin enough to forget.",
            "Security updates for seven years.",
        ),
    ),
    Shelf(
        "photo",
        (
            Kind("Mirrorless Camera", 1350, 620),
            Kind("Prime Lens", 560, 410),
            Kind("Zoom Lens", 840, 880),
            Kind("Camera Bag", 95, 1100),
            Kind("Carbon Tripod", 310, 1600),
            Kind("Instant Camera", 110, 450),
            Kind("Film Scanner", 260, 2100),
        ),
        ("Weather Sealed", "Full Frame", "Travel", "Vintage", "Wide Angle", "Macro"),
        (
            "Sharp from corner to corner.",
            "Sealed against dust and drizzle.",
            "Focuses in the dark.",
            "Fits under the seat of an aeroplane.",
            "All dials work with gloves on.",
        ),
    ),
    Shelf(
        "sports",
        (
            Kind("Running Shoes", 125, 560),
            Kind("Yoga Mat", 42, 1400),
            Kind("Kettlebell", 48, 12000),
            Kind("Bicycle Helmet", 85, 290),
            Kind("Exercise Bike", 620, 33000),
            Kind("Swimming Goggles", 24, 70),
            Kind("Rowing Machine", 880, 36000),
        ),
        ("Cushioned", "Non Slip", "Breathable", "Foldable", "Competition", "Lightweight"),
        (
            "Grips when it is wet.",
            "Air channels keep the head cool.",
            "Quiet magnetic resistance in sixteen steps.",
            "Washable at 30 degrees.",
            "Used by two national teams.",
        ),
    ),
    Shelf(
        "toys",
        (
            Kind("Building Blocks", 45, 1600),
            Kind("Wooden Train", 38, 1100),
            Kind("Jigsaw Puzzle", 19, 650),
            Kind("Board Game", 36, 1200),
            Kind("Plush Bear", 27, 340),
            Kind("Kite", 31, 280),
            Kind("Science Kit", 42, 900),
        ),
        ("Classic", "Glow in the Dark", "Cooperative", "Junior", "Giant", "Travel"),
        (
            "For ages three and up.",
            "Beech wood and paint on a water basis.",
            "A game takes about forty minutes.",
            "All pieces fit back into the box.",
            "Teaches more than it lets on.",
        ),
    ),
)
