#!/usr/bin/env python3
"""Makes the sample exports in this folder. Nobody in them exists.

    python3 -m venv /tmp/examples
    /tmp/examples/bin/pip install bcrypt==5.0.0
    /tmp/examples/bin/python examples/generate.py               # writes the files
    /tmp/examples/bin/python examples/generate.py --check       # only says what is different
    /tmp/examples/bin/python examples/generate.py --passwords   # prints everybody's password

Every choice is drawn from SHA-256 of the seed below and a label, so the same files come out on
every machine and with every version of Python.
"""

import base64
import csv
import hashlib
import io
import json
import pathlib
import sys
import unicodedata
from dataclasses import dataclass, field

SEED = "jcas examples 1"
FOLDER = pathlib.Path(__file__).resolve().parent

# How many people have an account where. Each company ends up with 300 users.
NEW_CUSTOMERS = {
    ("savanna", "NG"): 159, ("savanna", "KE"): 80,
    ("delta", "NG"): 139, ("delta", "EG"): 120,
    ("atlas", "KE"): 135, ("atlas", "MA"): 140,
}
SHARED = [  # (people, their country, where they have accounts, as whose customer)
    (36, "NG", {"savanna": "NG", "delta": "NG"}),
    (20, "KE", {"savanna": "KE", "atlas": "KE"}),
    (5, "NG", {"savanna": "NG", "delta": "NG", "atlas": "KE"}),
]
USERS = 300

# A name is written as its owner writes it; after a slash, as it stands in e-mail addresses.
GIVEN = {
    "NG": "Adaeze Chinedu Ngozi Emeka Ifeoma Obinna Chiamaka Kelechi Uche Amarachi Tunde Yetunde "
          "Folake Babatunde Ọláyínká/olayinka Adébáyọ̀/adebayo Títílayọ̀/titilayo Bukola Segun "
          "Aisha Musa Fatima Ibrahim Zainab Sani Halima Bello Ebere Nkechi Efe Osaze Ejiro",
    "KE": "Wanjiru Kamau Njeri Mwangi Wambui Kariuki Achieng Otieno Atieno Odhiambo Akinyi Ochieng "
          "Chebet Kiprono Jepkosgei Kipchoge Mutua Mwende Nzisa Musyoka Amina Hassan Zawadi Baraka "
          "Faith Brian Mercy Kevin Makena Muriithi",
    "EG": "Ahmed Mohamed Mahmoud Mostafa Youssef Omar Karim Tarek Hossam Amr Nour Mona Salma "
          "Yasmin Heba Dina Rania Aya Mariam Farida فاطمة/fatma أحمد/ahmad ليلى/laila خالد/khaled "
          "Girgis Mina Marina Nadia Sherif Hany",
    "MA": "Youssef Amine Mehdi Hamza Anas Ilyas Rachid Hicham Khadija Salma Ghita Zineb "
          "Imane Hajar Aïcha/aicha Naïma/naima Loubna Asmaa Noureddine Abdellah Brahim Tarik "
          "Saïd/said Meryem Chaïmae/chaimae Oumaïma/oumaima Ayoub Soukaina",
}
FAMILY = {
    "NG": "Okafor Okonkwo Nwosu Eze Obi Adeyemi Adeleke Ogunleye Balogun Afolabi Bakare Abubakar "
          "Danjuma Garba Yusuf Lawal Okoro Igwe Nnamdi Chukwu Uzor Oyelaran Akinola Ọ̀ṣúnbí/osunbi "
          "Idowu Ekong Bassey Effiong Osagie Ighodaro",
    "KE": "Kimani Githinji Maina Njoroge Waweru Ndungu Omondi Owino Ouma Okoth Onyango Wekesa "
          "Barasa Simiyu Koech Cheruiyot Rotich Langat Muthoni Kilonzo Mutiso Ng'ang'a/nganga "
          "Ng'eno/ngeno Mohamed Abdi Juma Karanja Gitau",
    "EG": "Hassan Ibrahim Abdelrahman Elsayed Mansour Fahmy Shaker Zaki Naguib Soliman Farouk "
          "Gaber Helmy Ashour Badawi Sabry Tawfik Wahba Youssef حسن/hassan إبراهيم/ibrahim "
          "Morsy Kamel",
    "MA": "Alaoui Bennani Benjelloun Tazi Fassi Idrissi Berrada Chraïbi/chraibi Lahlou Amrani "
          "Bouazza Ouazzani Naciri Haddad Zerouali Kabbaj Sqalli Mernissi Belkadi Essaïdi/essaidi "
          "Ait-Lahcen El-Khattabi El-Mansouri",
}
MAIL_DOMAINS = {
    "NG": ["mail.example.com", "lagos.example.net", "abuja.example.org", "inbox.example.com"],
    "KE": ["mail.example.com", "nairobi.example.net", "kisumu.example.org", "inbox.example.com"],
    "EG": ["mail.example.com", "cairo.example.net", "alexandria.example.org", "post.example.com"],
    "MA": ["mail.example.com", "casablanca.example.net", "fes.example.org", "post.example.com"],
}
CALLING_CODE = {"NG": "234", "KE": "254", "EG": "20", "MA": "212"}
MOBILE_PREFIXES = {  # national, without the leading zero; the digits that follow
    "NG": (["803", "805", "806", "807", "808", "813", "814", "816", "703", "706", "903", "906"], 7),
    "KE": (["701", "711", "712", "720", "722", "723", "733", "734", "745", "757", "790"], 6),
    "EG": (["100", "101", "106", "109", "111", "112", "114", "120", "122", "127", "155"], 7),
    "MA": (["612", "613", "615", "661", "662", "663", "667", "670", "672", "700", "762"], 6),
}
WORDS = (
    "Baobab Acacia Mango Papaya Cassava Jollof Ugali Tagine Couscous Koshari Sahara Savanna Delta "
    "Nile Niger Tana Atlas Lagos Kisumu Fes Luxor Harmattan Monsoon Copper Indigo Saffron Amber "
    "Coral Falcon Ibis Heron Gazelle Rhino Lantern Drum Kora Oud Ferry Matatu Danfo Market Bazaar"
).split()
FOREIGN_WORDS = "Ìfẹ́ Ọjà Café Thé Été Açaí Jäger قمر نور سوق Naïve Forêt".split()
ALNUM = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def number(below, *label):
    """A number below `below`, always the same for the same label."""
    text = "/".join([SEED, *map(str, label)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") % below


def pick(options, *label):
    return options[number(len(options), *label)]


def text(length, *label):
    return "".join(pick(ALNUM, *label, place) for place in range(length))


def shuffled(items, *label):
    order = {id(item): number(1 << 64, *label, place) for place, item in enumerate(items)}
    return sorted(items, key=lambda item: order[id(item)])


@dataclass
class Person:
    number: int
    country: str
    accounts: dict  # company -> the country it keeps the person in
    given: str = ""
    family: str = ""
    email: str = ""
    phone: str = ""  # national digits, without the leading zero
    other_email: dict = field(default_factory=dict)  # company -> an address used only there
    other_phone: dict = field(default_factory=dict)

    def password(self, company):
        """Half of those with several accounts have the same password everywhere."""
        habit = "same" if number(2, "habit", self.number) else company
        label = ("password", self.number, habit)
        words = WORDS + FOREIGN_WORDS if number(8, *label, "foreign") == 0 else WORDS
        first, second = pick(words, *label, 1), pick(words, *label, 2)
        return unicodedata.normalize("NFC", f"{first}-{second}-{number(90, *label, 3) + 10}")


def invent_people():
    plan = [(count, country, accounts) for count, country, accounts in SHARED]
    plan += [(count, country, {company: country})
             for (company, country), count in NEW_CUSTOMERS.items()]
    people, emails, phones = [], set(), set()
    for count, country, accounts in plan:
        for _ in range(count):
            person = Person(len(people), country, accounts)
            name(person)
            person.email = fresh_email(person, emails)
            person.phone = fresh_phone(person, phones)
            people.append(person)
    for person in people[:61]:  # those with several accounts
        company = list(person.accounts)[1]
        if person.number % 9 == 4:  # known by the phone alone
            person.other_email[company] = fresh_email(person, emails, "other")
        elif person.number % 9 == 8:  # known by the e-mail address alone
            person.other_phone[company] = fresh_phone(person, phones, "other")
    recycle_numbers(people)
    return people


def recycle_numbers(people):
    """Two numbers were given to somebody else: their owners at savanna and delta are strangers."""
    only = lambda company: [p for p in people if p.accounts == {company: "NG"}]
    for before, after in zip(only("savanna")[10:12], only("delta")[10:12]):
        after.phone = before.phone


def name(person):
    def split(word):
        written, _, ascii_form = word.partition("/")
        return unicodedata.normalize("NFC", written), ascii_form or written.lower()

    given, person.given_ascii = split(pick(GIVEN[person.country].split(), "given", person.number))
    family, person.family_ascii = split(
        pick(FAMILY[person.country].split(), "family", person.number))
    person.given, person.family = given, family


def fresh_email(person, taken, *label):
    for attempt in range(100):
        where = (person.number, *label, attempt)
        local = pick([
            f"{person.given_ascii}.{person.family_ascii}",
            f"{person.given_ascii}{person.family_ascii[:1]}{number(90, 'year', *where) + 10}",
            f"{person.given_ascii[:1]}.{person.family_ascii}",
            f"{person.family_ascii}_{person.given_ascii}",
        ], "local", *where)
        email = f"{local}@{pick(MAIL_DOMAINS[person.country], 'domain', *where)}".lower()
        if email not in taken:
            taken.add(email)
            return email
    raise SystemExit(f"no address left for person {person.number}")


def fresh_phone(person, taken, *label):
    prefixes, digits = MOBILE_PREFIXES[person.country]
    for attempt in range(100):
        where = (person.number, *label, attempt)
        subscriber = str(number(10 ** digits, "subscriber", *where)).zfill(digits)
        phone = pick(prefixes, "prefix", *where) + subscriber
        if (person.country, phone) not in taken:
            taken.add((person.country, phone))
            return phone
    raise SystemExit(f"no number left for person {person.number}")


def email_at(person, company):
    """As the company has it: savanna in lower case, the others as it was typed in."""
    email = person.other_email.get(company, person.email)
    if company == "savanna":
        return email
    local, domain = email.split("@")
    written = [email.title(), f"{local.upper()}@{domain}", f"{local.title()}@{domain}"]
    if len(person.accounts) == 1:
        written += [email] * 3
    return pick(written, "case", person.number, company)


def phone_at(person, company):
    """National at savanna, mostly international elsewhere, spaced as people do."""
    digits = person.other_phone.get(company, person.phone)
    code = CALLING_CODE[person.country]
    style = number(4, "phone style", person.number, company)
    groups = [digits[:3], digits[3:6], digits[6:]]
    is_abroad = person.accounts[company] != person.country
    if company == "savanna":
        return ["0" + digits, "0" + " ".join(groups), "0" + "-".join(groups), "0" + digits][style]
    if is_abroad or len(person.accounts) > 1 or style < 2:
        return ["+" + code + digits, f"+{code} {' '.join(groups)}"][style % 2]
    return "0" + digits if style == 2 else "0" + " ".join(groups)


def moment(*label):
    """A time between 2015 and 2023, as (date, time of day)."""
    day = f"{2015 + number(9, *label, 'y')}-{number(12, *label, 'm') + 1:02}-" \
          f"{number(28, *label, 'd') + 1:02}"
    clock = ":".join(f"{number(limit, *label, unit):02}" for limit, unit in
                     [(24, "H"), (60, "M"), (60, "S")])
    return day, clock


def magento1_hash(password, *label):
    """Mostly the Community Edition's md5 with two characters of salt; some of the Enterprise
    Edition, some from before there was a salt."""
    kind = number(25, *label, "kind")
    if kind < 2:
        return hashlib.md5(password.encode()).hexdigest()
    digest, length = (hashlib.sha256, 32) if kind < 5 else (hashlib.md5, 2)
    salt = text(length, *label, "salt")
    return f"{digest((salt + password).encode()).hexdigest()}:{salt}"


def bcrypt_hash(password, cost, *label):
    """A real bcrypt hash with PHP's prefix and a salt that is drawn like everything else."""
    import bcrypt
    salt = hashlib.sha256("/".join([SEED, *map(str, label)]).encode()).digest()[:16]
    standard = (ALNUM[26:52] + ALNUM[:26] + ALNUM[52:] + "+/").encode()
    own = ("./" + ALNUM[26:52] + ALNUM[:26] + ALNUM[52:]).encode()
    encoded = base64.b64encode(salt).rstrip(b"=").translate(bytes.maketrans(standard, own))
    made = bcrypt.hashpw(password.encode(), b"$2b$%02d$%b" % (cost, encoded)).decode()
    return "$2y$" + made[4:]


def customers(people, company):
    """The company's users, in the order they came."""
    found = shuffled([p for p in people if company in p.accounts], "order", company)
    assert len(found) == USERS, f"{company} has {len(found)} users"
    return found


def magento1(people):
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow("entity_id email firstname lastname telephone country password_hash".split())
    for place, person in enumerate(customers(people, "savanna")):
        alone = len(person.accounts) == 1
        phone = "" if alone and place % 7 == 3 else phone_at(person, "savanna")
        password_hash = magento1_hash(person.password("savanna"), "magento1", person.number)
        rows.writerow([1001 + place, email_at(person, "savanna"), person.given, person.family,
                       phone, person.accounts["savanna"], password_hash])
    return out.getvalue()


def laravel(people):
    rows = []
    for place, person in enumerate(customers(people, "delta")):
        label = ("laravel", person.number)
        cost = 10 if place % 50 == 7 else 8 if place % 30 == 11 else 4 + number(3, *label, "cost")
        day, clock = moment(*label, "created")
        verified = number(4, *label, "verified") != 0
        alone = len(person.accounts) == 1
        rows.append({
            "id": 1 + place,
            "name": f"{person.given} {person.family}",
            "email": email_at(person, "delta"),
            "phone": None if alone and place % 9 == 5 else phone_at(person, "delta"),
            "country_code": person.accounts["delta"],
            "password": bcrypt_hash(person.password("delta"), cost, *label, "salt"),
            "email_verified_at": f"{day}T{clock}.000000Z" if verified else None,
            "created_at": f"{day}T{clock}.000000Z",
        })
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f"[\n{lines}\n]\n"


def salted_sha256(people):
    lines = []
    for place, person in enumerate(customers(people, "atlas")):
        country, label = person.accounts["atlas"], ("atlas", person.number)
        salt = text(16, *label, "salt")
        digest = hashlib.sha256((salt + person.password("atlas")).encode()).hexdigest()
        alone = len(person.accounts) == 1
        row = {
            "account": f"{country}-{100001 + place}",
            "first": person.given,
            "last": person.family,
            "mail": None if alone and place % 8 == 6 else email_at(person, "atlas"),
            "mobile": phone_at(person, "atlas"),
            "country": country,
            "salt": salt,
            "pw": digest,
            "active": not (alone and place % 60 == 31),
            "since": moment(*label, "since")[0],
        }
        lines.append(json.dumps(row, ensure_ascii=False))
    return "\n".join(lines) + "\n"


def samples(people):
    """A dozen people whose passwords the demo knows: (why, who, company)."""
    def first(company, condition, skip=0):
        return [p for p in customers(people, company) if condition(p)][skip]

    def magento_kind(kind):
        def is_kind(person):
            made = magento1_hash(person.password("savanna"), "magento1", person.number)
            digest, _, salt = made.partition(":")
            return (len(digest), len(salt)) == kind and len(person.accounts) == 1
        return is_kind

    def laravel_cost(cost):
        rows = {row["email"]: row for row in json.loads(laravel(people))}
        return lambda p: len(p.accounts) == 1 and rows[email_at(p, "delta")]["password"].startswith(
            f"$2y${cost:02}$")

    def everywhere(person):
        plain = not person.other_email and not person.other_phone
        return plain and len({person.password(c) for c in person.accounts}) == len(person.accounts)

    mail_row = {json.loads(line)["mail"] for line in salted_sha256(people).splitlines()}
    at_atlas = lambda country: lambda p: (
        p.accounts == {"atlas": country} and email_at(p, "atlas") in mail_row)
    non_ascii = lambda company: lambda p: not p.password(company).isascii()
    three = first("atlas", lambda p: len(p.accounts) == 3 and everywhere(p))
    two = first("delta", lambda p: len(p.accounts) == 2 and everywhere(p))
    chosen = [
        ("md5 with two characters of salt", first("savanna", magento_kind((32, 2))), "savanna"),
        ("sha256 with 32 characters of salt", first("savanna", magento_kind((64, 32))), "savanna"),
        ("md5 without salt", first("savanna", magento_kind((32, 0))), "savanna"),
        ("letters beyond ASCII", first("savanna", non_ascii("savanna")), "savanna"),
        ("bcrypt at cost 4", first("delta", laravel_cost(4)), "delta"),
        ("bcrypt at cost 10", first("delta", laravel_cost(10)), "delta"),
        ("sha256 of salt and password", first("atlas", at_atlas("MA")), "atlas"),
        ("customer of two companies, a password at each", two, "savanna"),
        ("customer of two companies, a password at each", two, "delta"),
        ("customer of all three, a password at each", three, "savanna"),
        ("customer of all three, a password at each", three, "delta"),
        ("customer of all three, a password at each", three, "atlas"),
    ]
    rows = [{
        "company": company,
        "country": person.accounts[company],
        "email": email_at(person, company),
        "password": person.password(company),
        "why": why,
    } for why, person, company in chosen]
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    return f"[\n{lines}\n]\n"


def profile(**members):
    return json.dumps(members, indent=2) + "\n"


def files(people):
    return {
        "magento1/customers.csv": magento1(people),
        "magento1/hash-profile.json": profile(scheme="magento1"),
        "laravel/users.json": laravel(people),
        "salted-sha256/accounts.ndjson": salted_sha256(people),
        "salted-sha256/hash-profile.json": profile(
            scheme="digest", digest="sha256", encoding="hex", salt_position="prefix",
            salt_encoding="utf8", rounds=1),
        "passwords.json": samples(people),
    }


def main(arguments):
    people = invent_people()
    if arguments == ["--passwords"]:
        for person in people:
            for company in person.accounts:
                print(company, email_at(person, company), person.password(company), sep="\t")
        return 0
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    different = []
    for path, content in files(people).items():
        target, content = FOLDER / path, content.encode()
        if arguments == ["--check"]:
            if not target.is_file() or target.read_bytes() != content:
                different.append(path)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for path in different:
        print(f"{path} is not what this script makes", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
