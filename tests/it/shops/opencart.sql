-- OpenCart 3: oc_customer, as its opencart.sql declares it.
CREATE TABLE oc_customer (
    customer_id INT(11) NOT NULL AUTO_INCREMENT PRIMARY KEY,
    customer_group_id INT(11) NOT NULL DEFAULT 1,
    store_id INT(11) NOT NULL DEFAULT 0,
    language_id INT(11) NOT NULL DEFAULT 1,
    firstname VARCHAR(32) NOT NULL,
    lastname VARCHAR(32) NOT NULL,
    email VARCHAR(96) NOT NULL,
    telephone VARCHAR(32) NOT NULL,
    fax VARCHAR(32) NOT NULL DEFAULT '',
    password VARCHAR(40) NOT NULL,
    salt VARCHAR(9) NOT NULL,
    cart TEXT,
    wishlist TEXT,
    newsletter TINYINT(1) NOT NULL DEFAULT 0,
    ip VARCHAR(40) NOT NULL DEFAULT '',
    status TINYINT(1) NOT NULL
) ENGINE=MyISAM DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

INSERT INTO oc_customer (firstname, lastname, email, telephone, password, salt, status) VALUES
    ('Ada', 'Nwosu\nAda', 'ada@opencart.example', '0803 123 4567',
        SHA1(CONCAT('aB3dE6gH9', SHA1(CONCAT('aB3dE6gH9', SHA1('the known password'))))),
        'aB3dE6gH9', 1),
    ('Bob', 'B', 'bob@opencart.example', '', MD5('the known password'), '', 1),
    ('Off', 'O', 'off@opencart.example', '+2348031234568', MD5('the known password'), '', 0);
