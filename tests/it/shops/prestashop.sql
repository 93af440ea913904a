-- PrestaShop 1.6: ps_customer, as its db_structure.sql declares it. Passwords are hashed with the
-- cookie key of docs/migration.md; one customer has a hash of 1.7.
CREATE TABLE ps_customer (
    id_customer INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id_shop INT UNSIGNED NOT NULL DEFAULT 1,
    id_gender INT UNSIGNED NOT NULL DEFAULT 0,
    company VARCHAR(64),
    firstname VARCHAR(32) NOT NULL,
    lastname VARCHAR(32) NOT NULL,
    email VARCHAR(128) NOT NULL,
    passwd VARCHAR(60) NOT NULL,
    birthday DATE DEFAULT NULL,
    newsletter TINYINT UNSIGNED NOT NULL DEFAULT 0,
    secure_key VARCHAR(32) NOT NULL DEFAULT '-1',
    note TEXT,
    active TINYINT UNSIGNED NOT NULL DEFAULT 0,
    is_guest TINYINT(1) NOT NULL DEFAULT 0,
    deleted TINYINT(1) NOT NULL DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3;

SET sql_mode = '';
INSERT INTO ps_customer
    (firstname, lastname, email, passwd, birthday, active, is_guest, deleted) VALUES
    ('Ada', 'Ünal', 'ada@prestashop.example',
        MD5(CONCAT('COOKIE_KEY', 'the known password')), '1990-02-28', 1, 0, 0),
    ('Bob', 'B', 'bob@prestashop.example',
        '$2y$10$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W', '0000-00-00', 1, 0, 0),
    ('Nul', 'L', 'nul@prestashop.example',
        MD5(CONCAT('COOKIE_KEY', 'the known password')), NULL, 0, 0, 0),
    ('Guest', 'G', 'guest@prestashop.example', MD5('random'), NULL, 1, 1, 0),
    ('Gone', 'G', 'gone@prestashop.example', MD5('random'), NULL, 1, 0, 1);
