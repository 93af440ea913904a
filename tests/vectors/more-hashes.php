<?php
// Writes test vectors of shops' password formats, one JSON object a line, by PHP's own functions
// and what the shops' sources do with them. Salts come from a fixed sequence, except where PHP
// chooses one itself (password_hash), so a new run differs in those lines alone.
//
//   php tests/vectors/more-hashes.php > part.jsonl          PHP 8 with sodium
//
// more-hashes.py writes the other part; more-hashes.jsonl is both.

const ITOA64 = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const PASSWORDS = ['p', 'Zoë & <b>"naïve"</b>', "it's 100% \u{20ac} \\ /", 'пароль', '密码密码',
    'a password of more than sixty-four bytes, which is a block of MD5'];

function salt(int $length, string $letters = ITOA64): string {
    static $n = 0;
    $text = '';
    for ($i = 0; $i < $length; $i++) {
        $text .= $letters[hexdec(substr(sha1("salt" . $n . '.' . $i), 0, 6)) % strlen($letters)];
    }
    $n++;
    return $text;
}

function vector(string $source, string $format, string $password, string $hash, ?array $profile = null, ?string $salt = null): void {
    $line = ['source' => $source, 'format' => $format, 'password' => $password, 'hash' => $hash];
    if ($salt !== null) {
        $line['salt'] = $salt;
    }
    $line['profile'] = $profile;
    echo json_encode($line, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES), "\n";
}

// wp-includes/class-phpass.php and Drupal's PhpassHashedPasswordBase.
function encode64(string $input): string {
    $output = '';
    $count = strlen($input);
    $i = 0;
    do {
        $value = ord($input[$i++]);
        $output .= ITOA64[$value & 0x3f];
        if ($i < $count) {
            $value |= ord($input[$i]) << 8;
        }
        $output .= ITOA64[($value >> 6) & 0x3f];
        if ($i++ >= $count) {
            break;
        }
        if ($i < $count) {
            $value |= ord($input[$i]) << 16;
        }
        $output .= ITOA64[($value >> 12) & 0x3f];
        if ($i++ >= $count) {
            break;
        }
        $output .= ITOA64[($value >> 18) & 0x3f];
    } while ($i < $count);
    return $output;
}

function portable(string $magic, string $algorithm, int $log, string $salt, string $password): string {
    $hash = hash($algorithm, $salt . $password, true);
    for ($n = 1 << $log; $n > 0; $n--) {
        $hash = hash($algorithm, $hash . $password, true);
    }
    $text = $magic . ITOA64[$log] . $salt . encode64($hash);
    return $algorithm === 'sha512' ? substr($text, 0, 55) : $text;
}

// magento2 Encryptor::getArgonHash.
function magento2_argon(string $r, string $salt, int $length, int $ops, int $memory): string {
    $salt = strlen($salt) < 16 ? str_pad($salt, 16, $salt) : substr($salt, 0, 16);
    return bin2hex(sodium_crypto_pwhash($length, $r, $salt, $ops, $memory, SODIUM_CRYPTO_PWHASH_ALG_ARGON2ID13));
}

function opencart(string $salt, string $password): string {
    return sha1($salt . sha1($salt . sha1($password)));
}

// opencart Request::clean.
function clean(string $text): string {
    return htmlspecialchars($text, ENT_COMPAT, 'UTF-8');
}

foreach (PASSWORDS as $p) {
    $php = 'PHP ' . PHP_MAJOR_VERSION;
    vector("$php password_hash", 'bcrypt', $p, password_hash($p, PASSWORD_BCRYPT, ['cost' => 5]));
    vector("$php password_hash", 'argon2id', $p, password_hash($p, PASSWORD_ARGON2ID, ['memory_cost' => 1024, 'time_cost' => 3, 'threads' => 1]));
    vector("$php password_hash", 'argon2i', $p, password_hash($p, PASSWORD_ARGON2I, ['memory_cost' => 256, 'time_cost' => 4, 'threads' => 1]));
    $wp = base64_encode(hash_hmac('sha384', trim($p), 'wp-sha384', true));
    vector("$php, wp_hash_password", 'wordpress68', $p, '$wp' . password_hash($wp, PASSWORD_BCRYPT, ['cost' => 4]));
    vector("$php, class-phpass", 'phpass', $p, portable('$P$', 'md5', 7, salt(8), $p));
    vector("$php, class-phpass", 'phpass', $p, portable('$H$', 'md5', 9, salt(8), $p));
    vector("$php, wp_check_password", 'phpass-md5', $p, md5($p), ['scheme' => 'phpass']);
    vector("$php, Drupal 7", 'drupal7', $p, portable('$S$', 'sha512', 8, salt(8), $p));
    vector("$php, Drupal 7", 'drupal7-md5wrap', $p, 'U' . portable('$S$', 'sha512', 7, salt(8), md5($p)));
    vector("$php, Drupal 7", 'drupal7-md5wrap', $p, 'U' . portable('$P$', 'md5', 7, salt(8), md5($p)));
    foreach (['md5' => 2, 'sha256' => 32, 'sha512' => 32] as $algorithm => $length) {
        $salt = salt($length);
        vector("$php, Mage_Core_Model_Encryption", "magento1-$algorithm", $p, hash($algorithm, $salt . $p) . ':' . $salt, ['scheme' => 'magento1']);
    }
    $salt = salt(32);
    vector("$php, Encryptor 2.0", 'magento2-two-parts', $p, hash('sha256', $salt . $p) . ':' . $salt, ['scheme' => 'magento2']);
    vector("$php, Encryptor 2.0", 'magento2-two-parts', $p, md5($salt . $p) . ':' . $salt, ['scheme' => 'magento2']);
    vector("$php, Encryptor", 'magento2-0', $p, md5($salt . $p) . ":$salt:0");
    vector("$php, Encryptor", 'magento2-1', $p, hash('sha256', $salt . $p) . ":$salt:1");
    vector("$php, Encryptor", 'magento2-0-1', $p, hash('sha256', $salt . md5($salt . $p)) . ":$salt:0:1");
    vector("$php, Encryptor", 'magento2-hmac', $p, hash_hmac('sha256', $p, 'the crypt key'), ['scheme' => 'magento2', 'pepper' => 'the crypt key']);
    foreach ([5, 16, 32] as $length) {
        $salt = salt($length);
        vector("$php sodium, Encryptor", 'magento2-3', $p, magento2_argon($p, $salt, 24, 3, 1048576) . ":$salt:3_24_3_1048576");
        vector("$php sodium, Encryptor", 'magento2-1-3', $p, magento2_argon(hash('sha256', $salt . $p), $salt, 32, 1, 524288) . ":$salt:1:3_32_1_524288");
    }
    vector("$php, PrestaShop 1.6", 'prestashop', $p, md5('kEY&' . $p), ['scheme' => 'prestashop', 'pepper' => 'kEY&']);
    $salt = salt(9);
    vector("$php, OpenCart 3", 'opencart', $p, opencart($salt, $p), ['scheme' => 'opencart'], $salt);
    vector("$php, OpenCart 3 with Request::clean", 'opencart-cleaned', $p, opencart($salt, clean($p)), ['scheme' => 'opencart', 'pre_transform' => ['none', 'htmlspecialchars']], $salt);
    vector("$php, OpenCart 3 with Request::clean", 'opencart-cleaned', $p, opencart($salt, clean($p)), ['scheme' => 'opencart', 'pre_transform' => 'htmlspecialchars'], $salt);
    vector("$php, htmlspecialchars", 'htmlspecialchars', $p, md5(htmlspecialchars($p, ENT_QUOTES)), ['scheme' => 'digest', 'digest' => 'md5', 'pre_transform' => 'htmlspecialchars']);
    vector("$php, OpenCart 1.4", 'opencart-md5', $p, md5($p), ['scheme' => 'opencart'], $salt);
    $salt = salt(2);
    vector("$php, osCommerce 2.2", 'oscommerce', $p, md5($salt . $p) . ':' . $salt, ['scheme' => 'oscommerce']);
    $salt = salt(32);
    vector("$php, Joomla 1.5", 'joomla-md5', $p, md5($p . $salt) . ':' . $salt, ['scheme' => 'joomla-md5']);
    vector("$php, Joomla 1.5", 'joomla-md5', $p, md5($p), ['scheme' => 'joomla-md5']);
    vector("$php, Joomla 3", 'joomla-sha256', $p, '{SHA256}' . hash('sha256', $p . $salt) . ':' . $salt);
    vector("$php, Shopware Md5", 'shopware-md5', $p, md5($p . $salt) . ':' . $salt, ['scheme' => 'shopware-md5']);
    $hash = '';
    for ($i = 0; $i <= 17; $i++) {
        $hash = hash('sha256', $hash . $p . $salt);
    }
    vector("$php, Shopware Sha256", 'shopware-sha256', $p, "17:$salt:$hash", ['scheme' => 'shopware-sha256']);
    vector("$php, Shopware StripTags", 'bcrypt-strip-tags', $p, password_hash(strip_tags($p), PASSWORD_BCRYPT, ['cost' => 4]), ['scheme' => 'bcrypt', 'pre_transform' => 'strip_tags']);
    foreach ([['sha512', 5000, '{' . $salt . '}'], ['sha1', 1, ''], ['sha256', 7, '{' . $salt . '}']] as [$algorithm, $iterations, $suffix]) {
        $salted = $p . $suffix;
        $digest = hash($algorithm, $salted, true);
        for ($i = 1; $i < $iterations; $i++) {
            $digest = hash($algorithm, $digest . $salted, true);
        }
        $profile = ['scheme' => 'symfony-message-digest', 'digest' => $algorithm, 'iterations' => $iterations];
        $column = $suffix === '' ? null : $salt;
        vector("$php, MessageDigestPasswordHasher", 'symfony-message-digest', $p, base64_encode($digest), $profile, $column);
        vector("$php, MessageDigestPasswordHasher", 'symfony-message-digest', $p, bin2hex($digest), $profile, $column);
    }
    $digest = hash_pbkdf2('sha512', $p, $salt, 1000, 40, true);
    vector("$php, Pbkdf2PasswordHasher", 'symfony-pbkdf2', $p, base64_encode($digest), ['scheme' => 'symfony-pbkdf2'], $salt);
    $digest = hash_pbkdf2('sha256', $p, $salt, 77, 50, true);
    vector("$php, Pbkdf2PasswordHasher", 'symfony-pbkdf2', $p, bin2hex($digest), ['scheme' => 'symfony-pbkdf2', 'digest' => 'sha256', 'iterations' => 77, 'length' => 50], $salt);
    foreach (['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512'] as $algorithm) {
        $profile = ['scheme' => 'digest', 'digest' => $algorithm];
        vector("$php hash", 'digest-plain', $p, hash($algorithm, $p), $profile);
        vector("$php hash", 'digest-prefix', $p, strtoupper(hash($algorithm, $salt . $p)), $profile + ['salt_position' => 'prefix'], $salt);
        vector("$php hash", 'digest-suffix', $p, base64_encode(hash($algorithm, $p . $salt, true)), $profile + ['salt_position' => 'suffix', 'encoding' => 'base64'], $salt);
        vector("$php hash_hmac", 'digest-hmac', $p, hash_hmac($algorithm, $p, $salt), $profile + ['hmac' => true], $salt);
        vector("$php hash_hmac", 'digest-hmac', $p, hash_hmac($algorithm, $salt . $p, 'key'), $profile + ['hmac' => true, 'pepper' => 'key', 'salt_position' => 'prefix'], $salt);
        $hex = $p;
        $raw = $p;
        for ($i = 0; $i < 9; $i++) {
            $hex = hash($algorithm, $hex);
            $raw = hash($algorithm, $raw, true);
        }
        vector("$php hash", 'digest-rounds', $p, $hex, $profile + ['rounds' => 9, 'chain' => 'hex']);
        vector("$php hash", 'digest-rounds', $p, bin2hex($raw), $profile + ['rounds' => 9]);
    }
    $spaced = "  $p\n";
    vector("$php trim", 'digest-trim', $spaced, md5(trim($spaced)), ['scheme' => 'digest', 'digest' => 'md5', 'pre_transform' => 'trim']);
    vector("$php md5", 'digest-md5hex', $p, sha1(md5($p)), ['scheme' => 'digest', 'digest' => 'sha1', 'pre_transform' => 'md5hex']);
    vector("$php password_hash", 'devise', $p, password_hash($p . 'PEP', PASSWORD_BCRYPT, ['cost' => 4]), ['scheme' => 'devise', 'pepper' => 'PEP']);
    vector("$php password_hash", 'bcrypt-md5hex', $p, password_hash(md5($p), PASSWORD_BCRYPT, ['cost' => 4]), ['scheme' => 'bcrypt', 'pre_transform' => 'md5hex']);
    foreach (['$1$' . salt(8), '$1$' . salt(3), '$5$rounds=1234$' . salt(16), '$5$' . salt(5), '$6$rounds=1000$' . salt(8)] as $setting) {
        vector("$php crypt", 'crypt', $p, crypt($p, $setting . '$'));
    }
    $utf16 = iconv('UTF-8', 'UTF-16LE', $p);
    vector("$php iconv", 'digest-utf16le', $p, sha1($utf16 . 'salt'), ['scheme' => 'digest', 'digest' => 'sha1', 'salt_position' => 'suffix', 'password_encoding' => 'utf16le'], 'salt');
    $latin1 = @iconv('UTF-8', 'ISO-8859-1', $p);
    if ($latin1 !== false) {
        $salt = salt(2);
        vector("$php iconv", 'magento1-latin1', $p, md5($salt . $latin1) . ':' . $salt, ['scheme' => 'magento1', 'password_encoding' => 'latin1']);
        vector("$php iconv", 'bcrypt-latin1', $p, password_hash($latin1, PASSWORD_BCRYPT, ['cost' => 4]), ['scheme' => 'bcrypt', 'password_encoding' => 'latin1']);
        vector("$php iconv", 'phpass-latin1', $p, portable('$P$', 'md5', 7, salt(8), $latin1), ['scheme' => 'phpass', 'password_encoding' => 'latin1']);
    }
}
