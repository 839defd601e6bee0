"""Further documents written by hand before anything was tried on them, in two lots, with how many pairs a reader finds in each."""

from __future__ import annotations

TALK: dict[str, tuple[str, int]] = {
    "radio": (
        """Announcer: Good morning and welcome back. With us is the mayor of Hollin. How was the flood?
Mayor Tate: Wet. We lost two bridges and no people.
Announcer: What will you do about the bridges?
Mayor Tate: One comes back in spring. The other one, I fear, does not.
Announcer: Why not?
Mayor Tate: Nobody used it but the goats.
Announcer: Thank you for coming.
Mayor Tate: Thank you for having me.
""",
        4,
    ),
    "support": (
        """Customer: My parcel never arrived.
Agent: I am sorry to hear that. May I have the order number?
Customer: It is 5521.
Agent: It left our house on Monday and should reach you tomorrow.
""",
        2,
    ),
    "court": (
        """Q   Did you see the car?
A   I saw a car.
Q   Was it the red one?
A   It was too dark to say.
""",
        2,
    ),
    "qa numbered": (
        """1. Q: What does the warranty cover?
   A: All parts but the battery.

2. Q: How long does it last?
   A: Two years from the day of purchase.
""",
        2,
    ),
    "drama": (
        """MERCHANT
Have you anything to sell, my friend?

SAILOR
Only a parrot, and he swears.

MERCHANT
In which language?

SAILOR
In all that I know, and two that I do not.

MERCHANT
I will take him.

SAILOR
God help you, sir.
""",
        3,
    ),
    "magazine": (
        """THE QUARTERLY: When did you begin to paint?

OSEI: At six, on the kitchen wall. My mother did not wash it off for a year.

THE QUARTERLY: Is it still there?

OSEI: The house is gone. But I have painted it eleven times since.

THE QUARTERLY: Which one is nearest?

OSEI: None of them.
""",
        3,
    ),
    "whatsapp": (
        """12/03/2024, 18:01 - Ira: are we still on for tonight?
12/03/2024, 18:02 - Noor: yes! bring the blue bowl please
12/03/2024, 18:05 - Ira: which one is that
12/03/2024, 18:06 - Noor: the one you broke last year and glued
12/03/2024, 18:07 - Ira: oh dear
12/03/2024, 18:07 - Noor: it still holds soup, do not worry
""",
        3,
    ),
    "tutor": (
        """Student: Why does ice float?
Tutor: Because it is lighter than the water that it came from.
Student: How can it be lighter? It is the same stuff.
Tutor: It takes more room when it freezes, so the same stuff is spread thinner.
Student: I see.
Tutor: Then tell me why lakes do not freeze from below.
""",
        3,
    ),
    "german": (
        """Frage: Wann öffnet das Museum?
Antwort: Um zehn, außer montags.
Frage: Darf man dort fotografieren?
Antwort: Ja, aber ohne Blitz.
Frage: Gibt es ein Café?
Antwort: Leider nicht mehr.
""",
        3,
    ),
    "panel": (
        """Moderator: What keeps bees alive through winter?
Dr. Lund: Honey, and each other.
Ms. Park: And a dry hive.
Moderator: How dry?
Dr. Lund: Dry enough that you hear nothing drip.
Moderator: Can one help them?
Dr. Lund: Leave them alone.
""",
        3,
    ),
    "podcast": (
        """**Lena (host):** What is the hardest part of tuning a piano?

**Ivo:** Waiting. The strings move for a day after you leave them.

**Lena (host):** So you come back?

**Ivo:** Always. Twice, if it is an old one.

**Lena (host):** Do people pay for the second visit?

**Ivo:** They pay for the first one twice, they only do not know it.
""",
        3,
    ),
    "faq": (
        """Question: Can I bring my dog?
Answer: Yes, on a lead.

Question: Is there parking?
Answer: Behind the church, ten spaces.
""",
        2,
    ),
    "deposition": (
        """MR. VALE: Please state your name.
THE WITNESS: Harriet Stone.
MR. VALE: Where were you on the fourth?
THE WITNESS: At my sister's, all day.
MR. VALE: Did anyone see you there?
THE WITNESS: My sister did, and her parrot.
""",
        3,
    ),
    "novel dash": (
        """Elder - You walk too fast for me.
Boy - You walk too slowly for the rain.
Elder - Will it rain?
Boy - Look at the swallows.
Elder - I see no swallows.
Boy - That is what I mean.
""",
        3,
    ),
    "irc": (
        """<mira> anyone awake?
<otto> barely, what is up
<mira> the build is red again
<otto> did you try turning it off
<mira> very funny, can you look?
<otto> give me ten minutes
""",
        3,
    ),
    "spanish": (
        """Entrevistador: ¿Cuándo empezó usted a escribir?
Autora: A los siete años, en los márgenes del periódico.
Entrevistador: ¿Y qué escribía?
Autora: Finales. Los principios ya estaban impresos.
""",
        2,
    ),
    "nested": (
        """The museum keeps a short record of every visitor's question.

Visitor: How old is the whale?
Guide: The bones are two hundred years old. The whale was ninety when it died, as far as we know.
It was found on the beach below the lighthouse.

Visitor: Who found it?
Guide: A boy who was looking for his hat.

Admission is free on Sundays.
""",
        2,
    ),
    "bot": (
        """User: Translate "good night" into Danish.
Assistant: "God nat."
User: And into Finnish?
Assistant: "Hyvää yötä."
""",
        2,
    ),
}

NO_TALK = {
    "menu": """Starter: Soup of the day.
Main: Trout with almonds.
Dessert: Lemon tart.
Starter: Green salad.
Main: Lamb.
Dessert: Figs.
""",
    "nutrition": """Energy: 420 kcal
Fat: 12 g
Sugar: 9 g
Salt: 0.3 g
Energy: 210 kcal
Fat: 6 g
""",
    "weather": """Oslo: You will need an umbrella.
Rome: Sunny and warm.
Paris: Cloudy.
Cairo: Hot.
""",
    "glossary": """Anode: The electrode at which current enters.
Cathode: The electrode at which it leaves.
Diode: A part that lets current pass one way.
""",
    "minutes": """Present: Ann, Bo, Cy.
Apologies: Di.
Action: You all read the draft by Friday.
Action: Bo calls the printer.
Present: none.
""",
    "match": """Smith: 6 4 6
Jones: 4 6 3
Smith: 7 5
Jones: 6 7
Smith: 6
Jones: 2
""",
    "css": """Color: red;
Margin: 0;
Color: blue;
Margin: 1px;
Color: green;
Margin: 2px;
""",
    "yaml people": """- Owner: Ana
  Role: admin
- Owner: Ben
  Role: user
- Owner: Cem
  Role: user
- Owner: Dan
  Role: user
""",
    "slogans": """Nike: Just do it.
Apple: Think different.
Nike: Just do it.
Apple: Think different.
Nike: Just do it.
Apple: Think different.
""",
    "reviews": """Rating: 5
Review: I love it, you should buy it.
Rating: 1
Review: My cat hates it.
Rating: 4
Review: We like it.
""",
    "emails": """From: ann@example.org
To: bo@example.org
Subject: Are you there?

Hi Bo, are you coming?

From: bo@example.org
To: ann@example.org
Subject: Re: Are you there?

Yes, I am.
""",
    "instructions": """Left: Turn the screw until you feel it hold.
Right: Push your thumb against the plate.
Left: Turn the screw until you feel it hold.
Right: Push your thumb against the plate.
Left: Turn the screw until you feel it hold.
Right: Push your thumb against the plate.
""",
    "song": """Soprano: Come to me, my love.
Alto: Come to me, my love.
Soprano: Come to me, my love.
Alto: Come to me, my love.
Soprano: Come to me, my love.
Alto: Come to me, my love.
""",
    "commits": """Fix: handle empty files
Feature: add export
Fix: do not crash
Feature: you can now import
Fix: typo
Feature: themes
""",
    "code comment": """# Note: you must call init first.
# Args:
#   name: Your name.
# Returns:
#   Nothing.
foo(bar)
""",
    "cast": """Hamlet: Laurence Olivier
Ophelia: Jean Simmons
Hamlet: Kenneth Branagh
Ophelia: Kate Winslet
Hamlet: Mel Gibson
Ophelia: Helena Bonham Carter
""",
    "plan": """Week 1: Read chapter one.
Week 2: Write your outline.
Week 3: Show it to your tutor.
Week 4: Hand it in.
""",
    "horoscope": """Aries: You will meet someone.
Taurus: Your luck turns.
Gemini: You doubt yourself.
Cancer: Do you trust them?
Leo: You shine.
Virgo: Rest.
""",
    "http": """GET /a HTTP/1.1
Host: example.org
Accept: text/html

GET /b HTTP/1.1
Host: example.org
Accept: text/html
""",
    "dictionary": """Hound - a dog that you keep for hunting.
Mare - a female horse.
Hound - see dog.
Mare - see horse.
""",
    "specs": """Screen: 6 inches
Battery: 4000 mAh
Screen: 5 inches
Battery: 3000 mAh
Screen: 7 inches
Battery: 5000 mAh
""",
    "quiz": """Which is larger?
A) the moon
B) the sun
C) you

Which is nearer?
A) the moon
B) the sun
C) you
""",
    "todo": """Ann: buy milk, eggs.
Ben: fix the gate.
Ann: call the bank.
Ben: paint the shed.
Ann: water plants.
Ben: mow.
""",
    "testimony list": """Ana, Lisbon: I love it!
Bo, Oslo: You must try it.
Cy, Rome: We were happy.
Di, Bern: Thank you!
""",
    "quotes": """Wilde: Be yourself; everyone else is already taken.
Twain: You tell the truth, you need not remember.
Wilde: I can resist everything except temptation.
Shaw: You see things and you say why.
""",
}
