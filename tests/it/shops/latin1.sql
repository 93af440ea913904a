-- An old PrestaShop: a column declared latin1 that holds UTF-8 (José), latin1 (José, Zoë €), and
-- ASCII. Passwords were typed in latin1, too: the first is café.
CREATE TABLE ps_customer (
    id_customer INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    firstname VARCHAR(32) NOT NULL,
    lastname VARCHAR(32) NOT NULL,
    email VARCHAR(128) NOT NULL,
    passwd VARCHAR(32) NOT NULL,
    birthday DATE DEFAULT NULL,
    active TINYINT UNSIGNED NOT NULL DEFAULT 1,
    is_guest TINYINT(1) NOT NULL DEFAULT 0,
    deleted TINYINT(1) NOT NULL DEFAULT 0
) ENGINE=MyISAM DEFAULT CHARSET=latin1;

SET NAMES latin1;
SET sql_mode = '';
INSERT INTO ps_customer (firstname, lastname, email, passwd) VALUES
    (UNHEX('4A6F73C3A9'), 'UTF-8', 'utf8@old.example',
        MD5(CONCAT(CAST('COOKIE_KEY' AS BINARY), UNHEX('636166E9')))),
    (UNHEX('4A6F73E9'), 'latin1', 'latin1@old.example', MD5('random')),
    (UNHEX('5A6FEB2080'), 'cp1252', 'cp1252@old.example', MD5('random')),
    (UNHEX('C3A9E9'), 'both', 'both@old.example', MD5('random')),
    (UNHEX('E69D8EE5B08FF09F9880'), 'wide', 'wide@old.example', MD5('random')),
    ('Ann', 'ASCII', 'ascii@old.example', MD5('random'));
