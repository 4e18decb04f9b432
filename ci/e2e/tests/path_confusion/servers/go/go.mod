module pathconfusion

go 1.22
