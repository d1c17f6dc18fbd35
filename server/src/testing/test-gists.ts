/**
 * Documents with a known gist: what a reader must learn from each, as patterns that a good summary contains. They are
 * invented. Several begin with what is not important, because that is what letters, minutes and contracts do.
 */
export interface TestGist {
  name: string;
  /** An ISO 639-1 code. */
  language: string;
  text: string;
  facts: RegExp[];
}

export const testGists: TestGist[] = [
  {
    name: "an article",
    language: "en",
    text: `City council approves new bridge over the Tamar river

The city council voted 9 to 4 on Tuesday night to build a new bridge over the Tamar river, ending a dispute that lasted eleven years. The bridge will cost 48 million dollars and is expected to open in the spring of 2029.

Residents of the east bank have asked for a second crossing since the ferry service was closed in 2015. The old bridge, built in 1931, carries about 31,000 vehicles a day, twice as many as its engineers had planned for.

"I have waited for this evening for a long time," said Maria Quell, who runs a bakery on Pier Street. She brought a cake to the session, and the mayor ate a slice of it.

The session took place in the large hall of the library because the council chamber is being painted. More than two hundred people came, and some of them had to stand.

The state will pay 60 percent of the cost of the bridge. The city will borrow the rest, and plans to pay the loan back with a toll of two dollars for trucks; cars will cross for free.

Opponents said that the bridge would bring more traffic into the old town. The council answered their concern with a condition: before the bridge opens, Harbor Street must be closed to cars.

Construction begins in September. The old bridge will stay open during the works, except for six weeks in the summer of 2028, when its eastern ramp is moved.

The council also discussed the opening hours of the swimming pool. A decision about them was postponed to the next session.`,
    facts: [
      /voted 9 to 4/,
      /48 million/,
      /2029/,
      /60 percent/,
      /toll of two dollars/,
      /Harbor Street/,
      /begins in September/,
    ],
  },
  {
    name: "minutes of a meeting",
    language: "en",
    text: `Minutes of the product meeting

Present were Ana, Bruno, Chen, Dora and Emil. Farah sent her apologies because she was on a train. The meeting was held in the blue room, since the projector of the green room was broken again.

The minutes of the previous meeting were approved without changes. Bruno thanked the kitchen team for the new coffee machine, which everybody likes.

Chen presented the results of the survey. Of 412 customers who answered, 71 percent named slow exports as their main problem. Only a few of them mentioned the price.

The group discussed several ways to make exports faster. Dora proposed to run exports in the background and to send an email when the file is ready. Emil was afraid that the emails would end in spam folders.

It was decided that exports will run in the background from version 4.2, which is to be released on 14 March. Dora is responsible for the work, and Emil will review the design of the notifications by Friday.

Bruno reported that the trial of the new billing provider failed, because it rejected one of every eight payments. It was decided to stay with the present provider until the end of the year.

There was a longer conversation about the colour of the buttons. Nobody could agree, and the topic was closed after ten minutes.

Ana reminded everybody that the budget for contractors is used up. No new contracts with contractors may be signed before July.

The next meeting is on 3 March at ten o'clock. Chen will bring the cake.`,
    facts: [
      /71 percent/,
      /exports will run in the background from version 4\.2/,
      /14 March/,
      /Dora is responsible/,
      /stay with the present provider/,
      /No new contracts/,
    ],
  },
  {
    name: "an incident report",
    language: "en",
    text: `Incident report: payments were delayed on 6 May

This report describes the incident for the people who run the payment service. It names no person, because we look for causes and not for culprits.

On 6 May between 09:12 and 11:47, about 18 percent of all payments were delayed by more than ten minutes. No payment was lost, and no customer was charged twice.

The payment service writes each payment to a queue, from which workers send it to the bank. Each worker holds one connection to the database while it sends a payment. This design is four years old, and it has served us well.

At 09:10 a new version of the workers was deployed. It opened a second connection to the database for the new audit log, and never closed it when the bank was slow. After a few minutes the database had no free connections, and the workers waited for them.

The cause of the incident was therefore a connection leak in the audit log of the payment workers. The leak did not appear in tests, because the bank of the test system always answers at once.

The first alert arrived at 09:31, but it was sent to a channel that is not watched in the morning. An engineer noticed the delay at 10:20, when a customer wrote to the support desk. The engineer restarted the workers twice, which helped for some minutes each time.

At 11:35 the new version was rolled back, and by 11:47 the queue was empty.

We agreed on three actions. The audit log will use the connection of its worker, so that a payment never needs two connections. Alerts of the payment service will page the engineer on call at any hour. The bank of the test system will answer slowly for one request of ten.

The dashboards have been moved to a new server in the same week, which had nothing to do with the incident.`,
    facts: [
      /18 percent/,
      /No payment was lost/,
      /connection leak/,
      /rolled back/,
      /never needs two connections/,
      /page the engineer on call/,
    ],
  },
  {
    name: "a letter of a customer",
    language: "en",
    text: `Dear Sir or Madam,

I hope that this letter finds you well. My wife and I have bought our kitchen machines in your shop for almost twenty years, and we have always enjoyed the friendly service of your staff in the branch at the station.

As a child I already came to the shop with my mother, who bought her first mixer there. She still uses it, which says a lot about the quality of your goods in those days.

On 2 October I bought a dishwasher, model Aqua 500, for 649 euros, and your drivers delivered it on 9 October. The drivers were polite and took the old machine away with them.

The dishwasher leaks from the door since the first day, and the water has damaged the wooden floor of our kitchen. I have sent you photographs of the floor by email. I called your hotline four times, and each time they said that a technician would come within two days. No technician has come until today.

My neighbour, who is a plumber, looked at the machine and thinks that the seal of the door is missing. He has repaired many of such machines in his life.

I therefore ask you to replace the dishwasher until 15 November and to pay 380 euros for the repair of the floor. The offer of the carpenter is enclosed. If the machine is not replaced by then, I will withdraw from the purchase and ask for the full price back.

Please reply in writing, because I can no longer trust what is said on the telephone.

With kind regards and best wishes to the colleagues in the branch at the station,
Theodor Lindqvist`,
    facts: [
      /dishwasher, model Aqua 500/,
      /leaks from the door/,
      /No technician has come/,
      /replace the dishwasher until 15 November/,
      /380 euros/,
      /withdraw from the purchase/,
    ],
  },
  {
    name: "an article in Portuguese",
    language: "pt",
    text: `Hospital de Campo Largo reabre a maternidade depois de três anos

O Hospital Municipal de Campo Largo reabriu nesta segunda-feira a sua maternidade, que estava fechada desde 2023 por falta de médicos. A unidade tem 32 leitos e deve atender cerca de 2.400 partos por ano.

Durante o período em que a maternidade ficou fechada, as gestantes da cidade precisavam viajar 70 quilômetros até a capital. Segundo a secretaria de saúde, onze bebês nasceram dentro de ambulâncias no caminho.

A cerimônia de reabertura começou com a apresentação da banda da escola municipal. O prefeito chegou com meia hora de atraso e pediu desculpas ao público.

A reforma da maternidade custou 14 milhões de reais, dos quais o governo do estado pagou 9 milhões. O dinheiro também serviu para comprar seis incubadoras e um aparelho de ultrassom.

Para atrair profissionais, a prefeitura contratou 18 médicos obstetras com salários 40 por cento maiores do que os pagos antes. O sindicato dos enfermeiros criticou que o aumento não vale para a enfermagem e anunciou uma paralisação para o dia 12 de agosto.

"Minha avó nasceu aqui, minha mãe nasceu aqui, e minha filha também vai nascer", disse a professora Joana Prado, grávida de oito meses, que visitou os quartos novos com a família.

A secretária de saúde afirmou que a maternidade vai receber gestantes de outros cinco municípios a partir de outubro. Até lá, somente moradoras de Campo Largo serão atendidas.

O estacionamento do hospital continua em obras. Visitantes devem usar a entrada da rua de trás.`,
    facts: [
      /reabriu nesta segunda-feira/,
      /32 leitos/,
      /14 milhões/,
      /18 médicos obstetras/,
      /paralisação para o dia 12 de agosto/,
      /outros cinco municípios/,
    ],
  },
  {
    name: "a contract in Portuguese",
    language: "pt",
    text: `CONTRATO DE PRESTAÇÃO DE SERVIÇOS

Pelo presente instrumento particular, de um lado Padaria Trigal Ltda., doravante denominada CONTRATANTE, e de outro lado Limpa Bem Serviços Ltda., doravante denominada CONTRATADA, têm entre si justo e acertado o que se segue.

As partes declaram que leram o presente contrato, que o compreenderam e que o assinam de livre e espontânea vontade. Os títulos das cláusulas servem apenas para facilitar a leitura.

CLÁUSULA PRIMEIRA. A CONTRATADA prestará à CONTRATANTE serviços de limpeza das três lojas da padaria, de segunda-feira a sábado, das 20 às 23 horas. Os produtos de limpeza são fornecidos pela CONTRATADA.

CLÁUSULA SEGUNDA. A CONTRATANTE pagará à CONTRATADA o valor mensal de R$ 8.700,00, até o quinto dia útil de cada mês. O atraso no pagamento gera multa de 2 por cento e juros de 1 por cento ao mês.

CLÁUSULA TERCEIRA. O contrato tem prazo de 24 meses, com início em 1 de março, e o valor mensal será reajustado uma vez por ano pelo índice de preços ao consumidor.

CLÁUSULA QUARTA. Os funcionários da CONTRATADA usarão uniforme e crachá. A CONTRATANTE indicará um armário no qual os funcionários podem guardar os seus pertences.

CLÁUSULA QUINTA. A CONTRATADA responde pelos danos que os seus funcionários causarem nas lojas, até o limite de R$ 50.000,00 por ano, e manterá um seguro nesse valor.

CLÁUSULA SEXTA. Qualquer das partes pode rescindir o contrato com aviso prévio de 60 dias. A rescisão antes de doze meses obriga a parte que rescinde a pagar multa igual a duas mensalidades.

CLÁUSULA SÉTIMA. As comunicações entre as partes serão feitas por escrito. Fica eleito o foro da comarca de Londrina para resolver as questões que resultarem do contrato.

E por estarem assim justas e contratadas, as partes assinam o presente instrumento em duas vias de igual teor e forma, na presença de duas testemunhas.`,
    facts: [
      /serviços de limpeza das três lojas/,
      /8\.700,00/,
      /prazo de 24 meses/,
      /50\.000,00/,
      /aviso prévio de 60 dias/,
      /duas mensalidades/,
    ],
  },
  {
    name: "an email in Portuguese",
    language: "pt",
    text: `Bom dia a todos,

espero que o feriado tenha sido ótimo. Eu aproveitei para visitar os meus pais em Ouro Preto e comi pão de queijo todos os dias, como vocês podem imaginar.

Antes de entrar no assunto, quero dar as boas-vindas à Lívia, que começou ontem no time de atendimento. Ela vem de Recife, gosta de trilhas e já conhece metade da empresa.

O motivo deste email é a mudança do nosso sistema de chamados, que muitos de vocês esperam há meses. Na sexta-feira, dia 22, às 18 horas, o sistema antigo será desligado, e a partir de segunda-feira, dia 25, todos usarão o novo sistema.

Os chamados que estiverem abertos na sexta-feira serão copiados para o novo sistema durante o fim de semana. Os chamados fechados não serão copiados; quem precisar deles deve exportar os seus chamados até quinta-feira.

Cada pessoa vai receber um convite por email e precisa criar uma senha nova e ativar o segundo fator. Sem o segundo fator, o novo sistema não permite a entrada de ninguém.

Haverá dois treinamentos sobre o novo sistema, na quarta-feira às 10 e às 15 horas, e a participação em um deles é obrigatória para o atendimento. A gravação ficará disponível para os outros times.

A cor do novo sistema é laranja, o que gerou alguma discussão no comitê, mas acho que nos acostumaremos.

Se o novo sistema falhar na segunda-feira, voltaremos ao antigo até as 12 horas; essa decisão é do Otávio. Dúvidas devem ser enviadas para ele, e não para o suporte.

Um abraço e boa semana,
Renata`,
    facts: [
      /dia 22, às 18 horas/,
      /Os chamados fechados não serão copiados/,
      /ativar o segundo fator/,
      /participação em um deles é obrigatória/,
      /voltaremos ao antigo/,
    ],
  },
  {
    name: "a report in Spanish",
    language: "es",
    text: `Informe anual de la cooperativa de productores de café

Este informe se dirige a todas las socias y a todos los socios de la cooperativa. Agradecemos a la escuela de San Mateo, que nos prestó su sala para la asamblea.

La cooperativa se fundó hace veintidós años en la casa de Don Eusebio. Desde entonces ha celebrado una asamblea cada mes de enero, con excepción del año del terremoto.

En el año pasado la cooperativa vendió 410 toneladas de café, un 12 por ciento menos que en el año anterior. La causa principal fue la roya, una enfermedad que afectó a una de cada tres plantas de café.

A pesar de la menor cosecha, los ingresos de la cooperativa subieron a 2,1 millones de dólares, porque el precio del café aumentó un 19 por ciento. Dos tercios del café se exportaron a Alemania y al Japón.

Durante la fiesta de la cosecha se plantó un árbol delante de la oficina. Los niños del coro cantaron tres canciones y recibieron pasteles.

La asamblea decidió gastar 300.000 dólares en plantas de café que resisten la roya. Cada familia de la cooperativa recibirá 500 plantas antes de la temporada de lluvias.

La asamblea eligió a Rosa Ixchel como nueva presidenta de la cooperativa, con 188 votos a favor y 41 en contra. Ella sustituye a Julio Marroquín, que se retira después de nueve años.

La deuda de la cooperativa con el banco bajó de 640.000 a 420.000 dólares. El resto de la deuda debe pagarse hasta 2028.

La oficina atiende de lunes a viernes por la mañana. El teléfono de la oficina ha cambiado y está escrito en la puerta.`,
    facts: [/410 toneladas/, /la roya, una enfermedad/, /2,1 millones/, /300\.000 dólares/, /Rosa Ixchel/, /420\.000/],
  },
  {
    name: "an article in German",
    language: "de",
    text: `Warum die Bienen im Tal von Arnsbach wieder zunehmen

Wer im Mai durch das Tal von Arnsbach wandert, hört es sofort. In den Wiesen summt es, und der Wirt des Gasthofs stellt den Honig seiner Nachbarn auf die Tische.

Vor zehn Jahren war das anders. Damals zählte die Hochschule in Arnsbach nur noch 38 Arten von Wildbienen, halb so viele wie in den achtziger Jahren.

Eine Studie der Hochschule zeigt nun, dass sich die Wildbienen erholt haben. Im vergangenen Sommer zählten die Forscherinnen 61 Arten von Wildbienen, darunter neun, die auf der roten Liste stehen.

Die Leiterin der Studie empfing uns in ihrem Büro, in dem viele Pflanzen stehen. Sie trank Tee und zeigte uns eine Sammlung von Nadeln und Kästen.

Der wichtigste Grund für die Erholung der Wildbienen ist nach der Studie, dass die Gemeinde seit 2018 die Ränder der Straßen nur noch einmal im Jahr mäht. Dadurch blühen die Pflanzen, von denen die Wildbienen leben, sechs Wochen länger.

Die Landwirte des Tals erhalten außerdem 900 Euro im Jahr für jeden Hektar, auf dem sie keine Insektizide verwenden. Von 74 Betrieben nehmen 51 an dem Programm teil.

Das Programm kostet das Land 1,3 Millionen Euro im Jahr und läuft Ende 2027 aus. Ob es verlängert wird, entscheidet der Landtag im Herbst.

Die Leiterin der Studie warnt, dass die Zahl der Wildbienen ohne das Programm innerhalb von drei Jahren wieder sinken würde. Sie empfiehlt, auch die Gärten der Stadt einzubeziehen.

Am Ende des Gesprächs begann es zu regnen, und wir nahmen den Bus zurück in die Stadt.`,
    facts: [
      /61 Arten/,
      /nur noch einmal im Jahr mäht/,
      /900 Euro/,
      /1,3 Millionen Euro/,
      /entscheidet der Landtag/,
      /wieder sinken/,
    ],
  },
  {
    name: "a manual",
    language: "en",
    text: `Caring for your cast iron pan

Congratulations on your new pan. Our family has made pans in the same valley for five generations, and we test every one of them by hand before it leaves the workshop.

Cast iron is older than most kitchens. In some houses pans are handed down from grandparents to grandchildren, together with the stories about them.

Wash the pan by hand with hot water and a brush, and never put it into a dishwasher. Soap is allowed in small amounts, but the pan must never soak in water, because it would rust within hours.

Dry the pan at once after you wash it, best on a warm stove. Then rub the pan with a thin layer of oil, inside and outside.

Before the first use the pan must be seasoned: rub it with oil and bake it upside down at 230 degrees for one hour. Season the pan again when food begins to stick, which is usually after six months.

The handle gets as hot as the pan, so use a cloth or a glove. We sell leather gloves in three colours in our shop.

Do not heat the empty pan at the highest level for more than five minutes. Sudden changes of temperature, such as cold water in a hot pan, can crack it, and such cracks are not covered by the warranty.

The warranty covers defects of the material for 25 years. Rust is not covered, since it can be removed with steel wool and a new seasoning.

If you like our pan, recommend it to your friends. You find recipes and pictures of the valley on our website.`,
    facts: [
      /never put it into a dishwasher/,
      /Dry the pan at once/,
      /230 degrees/,
      /handle gets as hot/,
      /can crack/,
      /25 years/,
    ],
  },
];
